// Loading, attaching and letting go: what the kernel holds while a session is active, and that
// nothing is left.
#include "agent/probe/bpf_kernel.h"
#include "tests/kernel/bpf_objects.h"

#include <gtest/gtest.h>

#include <chrono>

namespace agent::probe {
namespace {

using namespace std::chrono_literals;
using kernel_test::count_objects;
using kernel_test::eventually;

class AttachTest : public testing::Test {
 protected:
  void SetUp() override {
    features = detect_kernel_features();
    if (!features.bpf) GTEST_SKIP() << "no BPF";
  }
  KernelFeatures features;
};

TEST_F(AttachTest, LoadsEveryProgramWithinItsBoundsAndLeavesNothing) {
  const auto before = count_objects();
  BpfKernel kernel(features, {}, {});

  const auto start = kernel_test::cpu_time();
  auto loaded = kernel.load();
  const auto took = kernel_test::cpu_time() - start;

  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_LT(took, 1s) << "of CPU";
  EXPECT_GE(kernel.use().programs, 6U);
  EXPECT_LE(kernel.use().map_bytes, 16U << 20);
  EXPECT_GT(count_objects().programs, before.programs);
  EXPECT_EQ(count_objects().links, before.links + 3);
  RecordProperty("load_ms", static_cast<int>(took / 1ms));
  RecordProperty("map_bytes", static_cast<int>(kernel.use().map_bytes));

  const auto stop = std::chrono::steady_clock::now();
  kernel.unload({});

  EXPECT_TRUE(eventually(5s, [&] { return count_objects() == before; })) << count_objects();
  // 0.3 s at most on a quiet machine; the end-to-end tests hold the whole way against it.
  RecordProperty("unload_ms", static_cast<int>((std::chrono::steady_clock::now() - stop) / 1ms));
}

TEST_F(AttachTest, HoldsNothingWhileIdle) {
  const auto before = count_objects();
  BpfKernel kernel(features, {}, {});

  EXPECT_EQ(count_objects(), before);
  EXPECT_EQ(kernel.use().programs, 0U);
  EXPECT_EQ(kernel.use().map_bytes, 0U);
}

TEST_F(AttachTest, HandsTheRingToItsReaderAndTakesItBack) {
  base::Fd ring;
  BpfKernel kernel(
      features, {[&](base::Fd fd) { ring = std::move(fd); }, [&] { ring.reset(); }}, {});
  ASSERT_TRUE(kernel.load().ok());
  EXPECT_TRUE(ring);

  kernel.unload({});

  EXPECT_FALSE(ring);
}

} // namespace
} // namespace agent::probe
