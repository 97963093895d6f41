// A session on a real program: what is attached, what it hits, and that it ends when it must.
#include "agent/probe/reconciler.h"

#include "agent/probe/bpf_kernel.h"
#include "agent/process/live_check.h"
#include "bpf/include/counters.h"
#include "tests/kernel/bpf_objects.h"
#include "tests/kernel/traced_program.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

namespace agent::probe {
namespace {

using namespace std::chrono_literals;
using kernel_test::BpfObjects;
using kernel_test::count_objects;
using kernel_test::eventually;
using kernel_test::hits_of;
using kernel_test::http_get;
using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

plan::DesiredState http_session(base::Nanoseconds deadline) {
  plan::DesiredState desired;
  plan::DesiredSession session;
  session.spec.set_session_id("s");
  session.spec.mutable_selector()->set_service("server");
  session.spec.add_probes()->mutable_http();
  session.deadline = deadline;
  desired.sessions["s"] = session;
  return desired;
}

// The parameter is "<go version>/<program>".
class ReconcilerKernelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    features = detect_kernel_features();
    if (!features.bpf) GTEST_SKIP() << "no BPF";
    const auto slash = GetParam().find('/');
    const auto version = GetParam().substr(0, slash);
    const auto name = GetParam().substr(slash + 1);
    if (auto why = programs::why_absent(version, name); !why.empty()) GTEST_SKIP() << why;
    auto started = programs::RunningProgram::start(programs::path_of(version, name), {"-quiet"});
    ASSERT_TRUE(started.ok()) << started.error().message;
    program.emplace(*std::move(started));
    auto analysed = kernel_test::go_process_of(*program);
    ASSERT_TRUE(analysed.ok()) << analysed.error().message;
    process = *std::move(analysed);
  }

  std::unique_ptr<Reconciler> start(Kernel& kernel) {
    return std::make_unique<Reconciler>(
        kernel, clock, plan::LocalPolicy{},
        ReconcilerOutputs{
            [this](const plan::DesiredSession&, AssignmentStatus now) { status = std::move(now); },
            {}});
  }

  base::SystemClock clock;
  KernelFeatures features;
  std::optional<programs::RunningProgram> program;
  process::GoProcess process;
  AssignmentStatus status;
};

TEST_P(ReconcilerKernelTest, AttachesHitsAndLeavesNothing) {
  const auto before = count_objects();
  BpfKernel kernel(features, {}, process::check_live);
  auto reconciler = start(kernel);
  reconciler->process_started(process);

  const auto begin = kernel_test::cpu_time();
  reconciler->apply(http_session(clock.boot_time() + 30s));
  const auto applied = kernel_test::cpu_time() - begin;

  ASSERT_EQ(status.state(), AssignmentStatus::ACTIVE) << status.DebugString();
  RecordProperty("apply_ms", static_cast<int>(applied / 1ms));
  EXPECT_LT(applied, 1s) << "of CPU";
  const auto target = "/call?url=http://" + program->address() + "/fast";
  for (int i = 0; i < 5; ++i) ASSERT_NE(http_get(program->address(), target), "");
  http_get(program->address(), "/panic");
  EXPECT_EQ(hits_of(PROGRAM_CLIENT_CALL), 5U) << "each call hits once, also where the stack grows";
  EXPECT_EQ(hits_of(PROGRAM_PANIC), 1U);
  EXPECT_GE(hits_of(PROGRAM_RECEIVED), 11U);

  const auto stop = std::chrono::steady_clock::now();
  reconciler->apply({});

  EXPECT_TRUE(eventually(5s, [&] { return count_objects() == before; })) << count_objects();
  const auto stopped = std::chrono::steady_clock::now() - stop;
  RecordProperty("stop_ms", static_cast<int>(stopped / 1ms));
  EXPECT_NE(http_get(program->address(), "/fast"), "") << "and the program lives on";
}

TEST_P(ReconcilerKernelTest, CallsThatFailPassTheErrorProbe) {
  BpfKernel kernel(features, {}, process::check_live);
  auto reconciler = start(kernel);
  reconciler->process_started(process);
  reconciler->apply(http_session(clock.boot_time() + 30s));
  ASSERT_EQ(status.state(), AssignmentStatus::ACTIVE) << status.DebugString();

  http_get(program->address(), "/call?ms=30&url=http://" + program->address() + "/slow?ms=300");

  EXPECT_TRUE(eventually(5s, [] { return hits_of(PROGRAM_CLIENT_ERROR) >= 1; }));
}

INSTANTIATE_TEST_SUITE_P(
    EveryGo, ReconcilerKernelTest,
    testing::Values("1.17/server", "1.22/server", "1.26/server", "1.27/server-stripped"),
    [](const auto& test) {
      auto name = "Go" + test.param;
      for (auto& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      return name;
    });

class RefusalTest : public ReconcilerKernelTest {};

TEST_P(RefusalTest, BytesThatAreNotThoseOfThePlanAreRefused) {
  auto changed = std::make_shared<process::BinaryInfo>(*process.binary);
  // Another function's prologue: decodes well, and is not what stands there.
  auto& function = changed->functions["runtime.gopanic"];
  function.code = std::string("\x55\x48\x89\xe5\x48\x83\xec\x10", 8);
  process.binary = changed;
  const auto before = count_objects();
  BpfKernel kernel(features, {}, process::check_live);
  auto reconciler = start(kernel);
  reconciler->process_started(process);

  reconciler->apply(http_session(clock.boot_time() + 30s));

  EXPECT_EQ(status.state(), AssignmentStatus::REJECTED);
  EXPECT_EQ(status.reason(), Reason::LAYOUT_CONFLICT) << status.DebugString();
  EXPECT_EQ(count_objects().links, before.links + 3) << "no function is probed";
}

TEST_P(RefusalTest, KillOfTheAgentLeavesNothing) {
  const auto before = count_objects();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    BpfKernel kernel(features, {}, process::check_live);
    auto reconciler = start(kernel);
    reconciler->process_started(process);
    reconciler->apply(http_session(clock.boot_time() + 30s));
    for (;;) pause();
  }
  ASSERT_TRUE(eventually(5s, [&] { return count_objects().links == before.links + 6; }))
      << count_objects();

  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);

  EXPECT_TRUE(eventually(5s, [&] { return count_objects() == before; })) << count_objects();
}

TEST_P(RefusalTest, TheDeadlineHoldsWhileTheAgentIsStopped) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    BpfKernel kernel(features, {}, process::check_live);
    auto reconciler = start(kernel);
    reconciler->process_started(process);
    reconciler->apply(http_session(clock.boot_time() + 4s));
    for (;;) pause();
  }
  const auto& address = program->address();
  EXPECT_TRUE(eventually(3s, [&] {
    http_get(address, "/call?url=http://" + address + "/fast");
    return hits_of(PROGRAM_CLIENT_CALL) > 0;
  }));
  kill(child, SIGSTOP);

  uint64_t last = 0;
  EXPECT_TRUE(eventually(20s, [&] {
    http_get(address, "/call?url=http://" + address + "/fast");
    const auto now =
        hits_of(PROGRAM_RECEIVED) + hits_of(PROGRAM_SENT) + hits_of(PROGRAM_CLIENT_CALL);
    return std::exchange(last, now) == now;
  })) << "programs go on working past their deadline";

  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

INSTANTIATE_TEST_SUITE_P(OneGo, RefusalTest, testing::Values("1.26/server"), [](const auto&) {
  return "Go1_26";
});

} // namespace
} // namespace agent::probe
