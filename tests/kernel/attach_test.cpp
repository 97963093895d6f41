// Loading, attaching and letting go: what the kernel holds while a session is active, and that
// nothing is left.
#include "agent/probe/bpf_kernel.h"
#include "tests/kernel/bpf_objects.h"

#include <gtest/gtest.h>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <iostream>

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

// Leaves this process (a forked one) nothing but these capabilities.
bool keep_only(uint64_t capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  for (size_t i = 0; i < data.size(); ++i)
    data[i].effective = data[i].permitted = static_cast<uint32_t>(capabilities >> (32 * i));
  return syscall(SYS_capset, &header, data.data()) == 0;
}

constexpr uint64_t bit(int capability) { return uint64_t{1} << capability; }

TEST_F(AttachTest, NeedsOnlyTheCapabilitiesThatTheHelpNames) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const uint64_t wanted =
        bit(CAP_BPF) | bit(CAP_PERFMON) | bit(CAP_SYS_PTRACE) | bit(CAP_DAC_READ_SEARCH);
    if (!keep_only(wanted)) _exit(3);
    BpfKernel kernel(detect_kernel_features(), {}, {});
    auto loaded = kernel.load();
    if (!loaded) std::cerr << loaded.error().message << "\n";
    const plan::FunctionSite site{plan::FunctionProgram::kPanic, "main", 0, 0x1000, 0, {}};
    auto attached = loaded ? kernel.attach(static_cast<uint32_t>(getpid()), {&site, 1})
                           : base::Result<Link>(loaded.error());
    if (!attached) std::cerr << attached.error().message << "\n";
    _exit(!loaded ? 1 : !attached ? 2 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);

  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: loading, 2: attaching, 3: capset";
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
