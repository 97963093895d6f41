#include "agent/probe/reconciler.h"

#include "agent/plan/facts.h"
#include "agent/plan/names.h"

#include <gtest/gtest.h>

#include <set>

namespace agent::probe {
namespace {

using namespace std::chrono_literals;
using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

// Remembers what it was told to hold.
class FakeKernel final : public Kernel {
 public:
  base::Result<> load() override {
    if (load_error) return *load_error;
    loads += is_loaded ? 0 : 1;
    is_loaded = true;
    return {};
  }
  void unload(std::vector<Link>) override {
    EXPECT_TRUE(rows.empty()) << "rows go first, so that programs return at once";
    is_loaded = false;
  }
  bool loaded() const override { return is_loaded; }
  base::Result<> verify(const process::GoProcess&, const plan::ProbePlan&) override {
    ++verifications;
    if (verify_error) return *verify_error;
    return {};
  }
  base::Result<> set_process(uint32_t pid, const process_config& config) override {
    rows[pid] = config;
    return {};
  }
  void forget_process(uint32_t pid) override { rows.erase(pid); }
  base::Result<Link> attach(uint32_t, std::span<const plan::FunctionSite>) override {
    ++attachments;
    return Link(base::Fd(dup(0)));
  }
  KernelUse use() const override { return is_loaded ? current_use : KernelUse(); }

  std::optional<base::Error> load_error;
  std::optional<base::Error> verify_error;
  std::map<uint32_t, process_config> rows;
  KernelUse current_use;
  int loads = 0;
  int verifications = 0;
  int attachments = 0;
  bool is_loaded = false;
};

process::GoProcess go_process(uint32_t pid, const std::string& service = "checkout") {
  process::BinaryInfo info;
  info.go_version = {1, 26, 8};
  info.go_version_text = "go1.26.8";
  // cmp rsp,[r14+16]; jbe; push rbp; mov rbp,rsp; mov [rsp+0x18],rbx; mov [rsp+0x10],rax
  const std::string prologue(
      "\x49\x3b\x66\x10\x76\x20\x55\x48\x89\xe5\x48\x89\x5c\x24\x18\x48\x89\x44\x24\x10", 20);
  for (const auto& name : plan::all_facts().functions)
    info.functions[name] = {0x1000, 0x1000, 500, 0, prologue};
  for (const auto& name : plan::all_facts().fields) info.fields[name] = {8, 8};
  for (const auto& name : plan::all_facts().types) info.types[name] = {8, 8};
  process::GoProcess go;
  go.process.key.pid = pid;
  go.process.key.start_ticks = pid;
  go.process.service = service;
  go.process.executable = "/app/" + service;
  go.binary = std::make_shared<process::BinaryInfo>(std::move(info));
  return go;
}

class ReconcilerTest : public testing::Test {
 protected:
  plan::DesiredState session(const std::string& id, base::Nanoseconds lease = 30s) {
    plan::DesiredState desired;
    plan::DesiredSession session;
    session.spec.set_session_id(id);
    session.spec.mutable_selector()->set_service("checkout");
    session.spec.add_probes()->mutable_http();
    session.version = "v1";
    session.deadline = clock.boot_time() + lease;
    desired.sessions[id] = session;
    return desired;
  }
  Reconciler& reconciler() {
    if (!reconciler_) {
      reconciler_ = std::make_unique<Reconciler>(
          kernel, clock, policy,
          ReconcilerOutputs{
              [this](const plan::DesiredSession& session, AssignmentStatus status) {
                statuses[session.spec.session_id()] = std::move(status);
                nonces.push_back(session.nonce);
                ++status_count;
              },
              [this](const Traced& now) { traced = now; }});
    }
    return *reconciler_;
  }

  base::ManualClock clock;
  FakeKernel kernel;
  plan::LocalPolicy policy;
  std::map<std::string, AssignmentStatus> statuses;
  std::vector<uint64_t> nonces;
  int status_count = 0;
  Traced traced;

 private:
  std::unique_ptr<Reconciler> reconciler_;
};

TEST_F(ReconcilerTest, LoadsNothingWhileNoSessionMatches) {
  reconciler().process_started(go_process(1, "billing"));
  reconciler().apply(session("s"));

  EXPECT_FALSE(kernel.is_loaded);
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::SKIPPED);
  EXPECT_EQ(statuses["s"].reason(), Reason::NO_MATCHING_PROCESS);
}

TEST_F(ReconcilerTest, TracesWhatIsThereAndWhatComesLater) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));
  EXPECT_EQ(kernel.rows.size(), 1U);

  reconciler().process_started(go_process(2));

  EXPECT_EQ(kernel.rows.size(), 2U);
  EXPECT_EQ(kernel.loads, 1);
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(statuses["s"].probes_size(), 2);
  EXPECT_EQ(traced.size(), 2U);
}

TEST_F(ReconcilerTest, UnloadsWithTheLastSession) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));

  reconciler().apply({});

  EXPECT_FALSE(kernel.is_loaded);
  EXPECT_TRUE(kernel.rows.empty());
  EXPECT_TRUE(traced.empty());
}

TEST_F(ReconcilerTest, MovesTheDeadlineInPlaceWhenTheLeaseIsRefreshed) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s", 30s));
  const auto attachments = kernel.attachments;

  clock.advance(10s);
  reconciler().refresh({{"s", clock.boot_time() + 30s}});

  EXPECT_EQ(kernel.rows[1].deadline_ns, static_cast<uint64_t>((clock.boot_time() + 30s).count()));
  EXPECT_EQ(kernel.attachments, attachments);
}

TEST_F(ReconcilerTest, DetachesWhenTheLeaseEndsAndTakesUpAgainWhenItIsGrantedAnew) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s", 30s));

  clock.advance(30s);
  reconciler().tick();

  EXPECT_FALSE(kernel.is_loaded);
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::EXPIRED);
  EXPECT_EQ(statuses["s"].reason(), Reason::LEASE_EXPIRED);

  reconciler().refresh({{"s", clock.boot_time() + 30s}});
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::ACTIVE);
}

TEST_F(ReconcilerTest, ExpiresALeaseThatNoProcessUsed) {
  reconciler().apply(session("s", 30s));

  clock.advance(30s);
  reconciler().tick();

  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::EXPIRED);
}

TEST_F(ReconcilerTest, RefusesASiteThatDoesNotHoldAndDoesNotTryAgain) {
  kernel.verify_error = base::failed_precondition("LAYOUT_CONFLICT", "other bytes");
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));

  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::REJECTED);
  EXPECT_EQ(statuses["s"].reason(), Reason::LAYOUT_CONFLICT);
  EXPECT_EQ(kernel.attachments, 0);
  EXPECT_TRUE(kernel.rows.empty());

  reconciler().refresh({{"s", clock.boot_time() + 30s}});
  EXPECT_EQ(kernel.verifications, 1);
  EXPECT_EQ(statuses["s"].reason(), Reason::LAYOUT_CONFLICT);
  EXPECT_TRUE(traced.empty());
}

TEST_F(ReconcilerTest, ReportsWhyTheKernelRefused) {
  kernel.load_error = base::failed_precondition("VERIFIER_REJECTED", "R1 invalid");
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));

  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::REJECTED);
  EXPECT_EQ(statuses["s"].reason(), Reason::VERIFIER_REJECTED);
  EXPECT_TRUE(traced.empty());
}

TEST_F(ReconcilerTest, LetsGoOfAProcessThatEnded) {
  reconciler().process_started(go_process(1));
  reconciler().process_started(go_process(2));
  reconciler().apply(session("s"));

  reconciler().process_ended(1);
  EXPECT_EQ(kernel.rows.size(), 1U);

  reconciler().process_ended(2);
  EXPECT_FALSE(kernel.is_loaded);
  EXPECT_EQ(statuses["s"].reason(), Reason::NO_MATCHING_PROCESS);
}

TEST_F(ReconcilerTest, AttachesAnewWhenThePidIsAnotherProgram) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));
  auto other = go_process(1);
  other.process.key.start_ticks = 99;

  reconciler().process_started(other);

  EXPECT_EQ(kernel.attachments, 2);
  EXPECT_EQ(kernel.verifications, 2);
  EXPECT_EQ(kernel.rows[1].start_time_min_ns, 990'000'000U);
}

TEST_F(ReconcilerTest, RefusesMoreSessionsThanThePolicyAllows) {
  policy.sessions_max = 1;
  reconciler().process_started(go_process(1));
  auto desired = session("a");
  reconciler().apply(desired);
  desired.sessions["0"] = session("0").sessions["0"];

  reconciler().apply(desired);

  EXPECT_EQ(statuses["a"].state(), AssignmentStatus::ACTIVE) << "who came first stays";
  EXPECT_EQ(statuses["0"].reason(), Reason::LOCAL_POLICY_DENIED);
  EXPECT_EQ(traced[1].size(), 1U);
}

TEST_F(ReconcilerTest, SamplesDownAndThenDetachesWhatCostsTooMuch) {
  reconciler().process_started(go_process(1));
  auto desired = session("s", 1h);
  desired.sessions["s"].spec.mutable_budget()->set_cpu_fraction(0.01);
  reconciler().apply(desired);
  EXPECT_EQ(kernel.rows[1].sampling_threshold, 0U);

  auto burn = [&] {
    clock.advance(1s);
    kernel.current_use.cost.cpu += 20ms;
    reconciler().tick();
  };
  burn();
  EXPECT_GT(kernel.rows[1].sampling_threshold, 0U);
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::PARTIAL);
  EXPECT_EQ(statuses["s"].reason(), Reason::BUDGET_CPU);

  for (int i = 0; i < 10 && kernel.is_loaded; ++i) burn();
  EXPECT_FALSE(kernel.is_loaded);
  EXPECT_EQ(statuses["s"].state(), AssignmentStatus::REJECTED);
}

TEST_F(ReconcilerTest, ChargesASessionOnlyForWhatHappensInItsTime) {
  reconciler().process_started(go_process(1));
  kernel.current_use.cost = {5ms, 1000};
  reconciler().apply(session("a"));
  reconciler().tick();
  reconciler().apply({});
  kernel.current_use.cost = {0ms, 1000}; // programs count anew, records go on
  reconciler().apply(session("b"));

  kernel.current_use.cost = {2ms, 1010};
  reconciler().tick();

  EXPECT_EQ(reconciler().usage_of("b").events(), 10U);
  EXPECT_NEAR(reconciler().usage_of("b").bpf_cpu_seconds(), 0.002, 1e-9);
}

TEST_F(ReconcilerTest, ASessionAfterABusyOneStartsWithItsWholeBudget) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("busy"));
  kernel.current_use.cost = {0ms, 1'000'000};
  reconciler().tick();
  reconciler().apply({});
  clock.advance(60s);
  reconciler().tick(); // nothing is loaded, and nothing is counted

  reconciler().apply(session("quiet"));
  clock.advance(2s);
  reconciler().tick();

  EXPECT_EQ(statuses["quiet"].state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(kernel.rows[1].sampling_threshold, 0U);
  EXPECT_EQ(reconciler().usage_of("quiet").events(), 0U);
}

TEST_F(ReconcilerTest, AnswersEveryDeltaOnceEvenWhenNothingChanged) {
  auto desired = session("s");
  desired.sessions["s"].nonce = 7;
  reconciler().apply(desired);
  desired.sessions["s"].nonce = 8;
  reconciler().apply(desired);
  reconciler().tick();

  EXPECT_EQ(nonces, (std::vector<uint64_t>{7, 8}));
}

TEST_F(ReconcilerTest, SaysOnlyWhatChangedButKeepsUsageFresh) {
  reconciler().process_started(go_process(1));
  reconciler().apply(session("s"));
  const auto count = status_count;

  reconciler().tick();
  EXPECT_EQ(status_count, count);
  clock.advance(2s);
  reconciler().tick();

  EXPECT_EQ(status_count, count + 1);
}

} // namespace
} // namespace agent::probe
