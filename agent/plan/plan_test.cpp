#include "agent/plan/plan.h"

#include "agent/plan/facts.h"
#include "agent/plan/names.h"
#include "agent/plan/status.h"

#include <gtest/gtest.h>

namespace agent::plan {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

// cmp rsp,[r14+16]; jbe; push rbp; mov rbp,rsp
const std::string kModernPrologue("\x49\x3b\x66\x10\x76\x20\x55\x48\x89\xe5", 10);
// cmp rsp,[r14+16]; jbe near; sub rsp,0x50
const std::string kOldPrologue("\x49\x3b\x66\x10\x0f\x86\x07\x01\x00\x00\x48\x83\xec\x50", 14);

// mov [rsp+0x18],rbx; mov [rsp+0x10],rax behind the push, and what stands for it behind the sub
const std::string kModernKeep("\x48\x89\x5c\x24\x18\x48\x89\x44\x24\x10", 10);
const std::string kOldKeep("\x48\x89\x5c\x24\x60\x48\x89\x44\x24\x58", 10);

process::BinaryInfo binary(process::GoVersion version = {1, 26, 8}) {
  process::BinaryInfo info;
  info.go_version = version;
  info.go_version_text = "go" + std::to_string(version.major) + "." +
                         std::to_string(version.minor) + "." + std::to_string(version.patch);
  const bool modern = version >= process::GoVersion{1, 21, 0};
  const auto& code = modern ? kModernPrologue : kOldPrologue;
  uint64_t address = 0x401000;
  for (const auto* name :
       {kGopanic, kRoundTrip, kMapRoundTripError, kQueueForDial, kWantConnCancel,
        kTransportRoundTrip}) {
    info.functions[name] = {address, address - 0x400000, 500, 0, code};
    address += 0x1000;
  }
  info.functions[kTransportRoundTrip].code += modern ? kModernKeep : kOldKeep;
  uint64_t offset = 0;
  for (const auto& name : all_facts().fields) info.fields[name] = {offset += 8, 8};
  if (version < process::GoVersion{1, 21, 0}) {
    info.fields.erase(kGParentGoid);
    info.missing.push_back(
        {process::FactKind::kField, kGParentGoid, "LAYOUT_MISSING", "no such field"});
  }
  for (const auto& name : all_facts().types) info.types[name] = {address += 0x100, 8};
  return info;
}

process::GoProcess running(process::BinaryInfo info) {
  process::GoProcess go;
  go.process.key.pid = 42;
  go.process.key.start_ticks = 7;
  go.process.executable = "/app/checkout";
  go.process.service = "checkout";
  go.binary = std::make_shared<process::BinaryInfo>(std::move(info));
  return go;
}

DesiredSession http_session(const std::string& id, sonde::v1::HttpProbe::Side side = {}) {
  DesiredSession session;
  session.spec.set_session_id(id);
  session.spec.mutable_selector()->set_service("checkout");
  session.spec.add_probes()->mutable_http()->set_side(side);
  session.deadline = std::chrono::seconds(100);
  return session;
}

DesiredState one(DesiredSession session) {
  DesiredState desired;
  desired.sessions[session.spec.session_id()] = std::move(session);
  return desired;
}

TEST(Plan, OfAnHttpSessionHasTheRowAndFiveSites) {
  auto plan = make_plan(running(binary()), one(http_session("s")), {}, {});

  ASSERT_EQ(plan.shares.size(), 1U);
  ASSERT_EQ(plan.outcomes.size(), 1U);
  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::ACTIVE);
  EXPECT_EQ(plan.config.flags, PROCESS_SERVER | PROCESS_CLIENT | PROCESS_LINEAGE);
  EXPECT_EQ(plan.config.deadline_ns, 100'000'000'000U);
  EXPECT_EQ(plan.config.start_time_min_ns, 70'000'000U);
  ASSERT_EQ(plan.sites.size(), 5U);
  EXPECT_EQ(plan.sites[0].symbol, kGopanic);
  EXPECT_EQ(plan.sites[0].site_offset, 0x1006U);
  EXPECT_EQ(plan.sites[0].cookie, 0U);
  EXPECT_NE(plan.config.message_types[4], 0U);
}

TEST(Plan, BeforeGo121FiltersByFlagsAndHasNoLineage) {
  auto plan = make_plan(running(binary({1, 17, 13})), one(http_session("s")), {}, {});

  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::ACTIVE);
  EXPECT_EQ(plan.config.flags, PROCESS_SERVER | PROCESS_CLIENT);
  ASSERT_FALSE(plan.sites.empty());
  EXPECT_EQ(plan.sites[0].cookie, SITE_FILTER_BY_FLAGS);
}

TEST(Plan, AddsTheLoadBiasToTypesButNotToFileOffsets) {
  auto process = running(binary());
  const auto type = process.binary->find_type(kTcpConnType)->address;
  process.process.load_bias = 0x5500'0000'0000;

  auto plan = make_plan(process, one(http_session("s")), {}, {});

  EXPECT_EQ(plan.config.client.tcp_conn_type, type + 0x5500'0000'0000);
  EXPECT_EQ(plan.sites[0].function_offset, 0x1000U);
}

TEST(Plan, RefusesAMissingLayoutWithItsReason) {
  auto info = binary();
  info.fields.erase(kGGoid);
  info.missing.push_back(
      {process::FactKind::kField, kGGoid, "LAYOUT_MISSING", "no descriptor of runtime.g"});

  auto plan = make_plan(running(std::move(info)), one(http_session("s")), {}, {});

  EXPECT_FALSE(plan.traces());
  EXPECT_TRUE(plan.sites.empty());
  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::REJECTED);
  EXPECT_EQ(plan.outcomes[0].reason, Reason::LAYOUT_MISSING);
  EXPECT_NE(plan.outcomes[0].detail.find("no descriptor"), std::string::npos);
}

TEST(Plan, RefusesWhatAnOffsetTableContradicts) {
  auto desired = one(http_session("s"));
  auto& table = desired.offset_tables["t"];
  table.set_go_version("go1.26.8");
  table.set_architecture("amd64");
  auto& field = *table.add_fields();
  field.set_type("runtime.g");
  field.set_field("goid");
  field.set_offset_bytes(4);

  auto plan = make_plan(running(binary()), desired, {}, {});

  EXPECT_EQ(plan.outcomes[0].reason, Reason::LAYOUT_CONFLICT);
}

TEST(CheckTable, AgreesContradictsOrCannotTell) {
  sonde::v1::OffsetTable table;
  table.set_go_version("go1.26.8");
  table.set_architecture("amd64");
  auto& field = *table.add_fields();
  field.set_type("runtime.g");
  field.set_field("goid");
  const auto here = std::make_shared<process::BinaryInfo>(binary());
  const auto own = *here->find_field(kGGoid);
  field.set_offset_bytes(static_cast<uint32_t>(own.offset));

  EXPECT_EQ(check_table(table, {here}).state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(check_table(table, {}).state(), AssignmentStatus::SKIPPED);
  const auto other = std::make_shared<process::BinaryInfo>(binary({1, 22, 12}));
  EXPECT_EQ(check_table(table, {other}).state(), AssignmentStatus::SKIPPED);

  field.set_size_bytes(static_cast<uint32_t>(own.size + 8));
  EXPECT_EQ(check_table(table, {here}).reason(), Reason::LAYOUT_CONFLICT);
  field.clear_size_bytes();
  field.set_offset_bytes(field.offset_bytes() + 8);
  const auto wrong = check_table(table, {other, here});
  EXPECT_EQ(wrong.state(), AssignmentStatus::REJECTED);
  EXPECT_NE(wrong.detail().find("runtime.g.goid"), std::string::npos);
}

TEST(Plan, TakesFromAnOffsetTableWhatTheBinaryDoesNotTell) {
  auto info = binary();
  info.fields.erase(kGGoid);
  auto desired = one(http_session("s"));
  auto& table = desired.offset_tables["t"];
  table.set_go_version("go1.26.8");
  table.set_architecture("amd64");
  auto& field = *table.add_fields();
  field.set_type("runtime.g");
  field.set_field("goid");
  field.set_offset_bytes(152);

  auto plan = make_plan(running(std::move(info)), desired, {}, {});

  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::ACTIVE);
  EXPECT_EQ(plan.config.go.g_goid, 152U);
}

TEST(Plan, OfAProgramWithoutClientSaysSoAndStaysActive) {
  auto info = binary();
  info.functions.erase(kRoundTrip);

  auto both = make_plan(running(info), one(http_session("s")), {}, {});
  auto client =
      make_plan(running(info), one(http_session("s", sonde::v1::HttpProbe::CLIENT)), {}, {});

  EXPECT_EQ(both.outcomes[0].state, AssignmentStatus::ACTIVE);
  EXPECT_NE(both.outcomes[0].detail, "");
  EXPECT_EQ(client.outcomes[0].state, AssignmentStatus::REJECTED);
  EXPECT_EQ(client.outcomes[0].reason, Reason::SYMBOL_NOT_FOUND);
  EXPECT_FALSE(client.traces());
}

TEST(Plan, IsPartialWhenOnlyTheClientLacksALayout) {
  auto info = binary();
  info.fields.erase(kNetFdSysfd);

  auto plan = make_plan(running(std::move(info)), one(http_session("s")), {}, {});

  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::PARTIAL);
  EXPECT_EQ(plan.outcomes[0].reason, Reason::LAYOUT_MISSING);
  EXPECT_EQ(plan.config.flags & PROCESS_CLIENT, 0U);
}

TEST(Plan, RefusesOnlyCallsWithoutAConnectionWhenTheirRequestCannotBeFound) {
  auto info = binary();
  info.functions[kTransportRoundTrip].code = kModernPrologue;

  auto plan = make_plan(running(std::move(info)), one(http_session("s")), {}, {});

  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::PARTIAL);
  EXPECT_EQ(plan.outcomes[0].reason, Reason::PROBE_UNSUPPORTED);
  EXPECT_NE(plan.outcomes[0].detail.find("without a connection"), std::string::npos);
  EXPECT_EQ(plan.sites.size(), 3U);
  EXPECT_NE(plan.config.flags & PROCESS_CLIENT, 0U);
}

TEST(Plan, RefusesAVersionThatIsNotKnown) {
  auto plan = make_plan(running(binary({1, 28, 0})), one(http_session("s")), {}, {});

  EXPECT_EQ(plan.outcomes[0].reason, Reason::BINARY_UNSUPPORTED);
}

TEST(Plan, RefusesAProbeKindThatTheAgentDoesNotKnow) {
  auto session = http_session("s");
  session.spec.add_probes()->mutable_grpc();

  auto plan = make_plan(running(binary()), one(std::move(session)), {}, {});

  ASSERT_EQ(plan.outcomes.size(), 2U);
  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::ACTIVE);
  EXPECT_EQ(plan.outcomes[1].reason, Reason::PROBE_UNSUPPORTED);
}

TEST(Plan, ObeysTheLocalPolicyBeforeTheControlPlane) {
  LocalPolicy no_http;
  no_http.forbidden_probes = {"http"};
  LocalPolicy not_this;
  not_this.forbidden_executables = {"/app/*"};

  for (const auto& policy : {no_http, not_this}) {
    auto plan = make_plan(running(binary()), one(http_session("s")), policy, {});
    EXPECT_EQ(plan.outcomes[0].reason, Reason::LOCAL_POLICY_DENIED);
    EXPECT_FALSE(plan.traces());
  }
}

TEST(Plan, MergesSessionsIntoTheLoosestRow) {
  auto desired = one(http_session("a", sonde::v1::HttpProbe::SERVER));
  auto second = http_session("b", sonde::v1::HttpProbe::CLIENT);
  second.deadline = std::chrono::seconds(200);
  second.spec.mutable_sampling()->set_ratio(0.5);
  desired.sessions["b"] = second;
  desired.sessions["a"].spec.mutable_sampling()->set_ratio(0.1);

  auto plan = make_plan(running(binary()), desired, {}, {});

  ASSERT_EQ(plan.shares.size(), 2U);
  EXPECT_EQ(plan.config.deadline_ns, 200'000'000'000U);
  EXPECT_EQ(plan.config.sampling_threshold, threshold_of(0.5));
  EXPECT_EQ(plan.sites.size(), 5U);
  EXPECT_FALSE(plan.shares[0].client);
  EXPECT_FALSE(plan.shares[1].server);
}

TEST(Plan, LeavesOutASessionThatSelectsAnotherProcess) {
  auto session = http_session("s");
  session.spec.mutable_selector()->set_service("billing");

  auto plan = make_plan(running(binary()), one(std::move(session)), {}, {});

  EXPECT_TRUE(plan.outcomes.empty());
  EXPECT_FALSE(plan.traces());
}

TEST(Plan, DetachesASessionThatHasNoBudgetLeft) {
  auto plan = make_plan(
      running(binary()), one(http_session("s")), {},
      {{"s", {0, Reason::BUDGET_EVENTS, "too many"}}});

  EXPECT_EQ(plan.outcomes[0].reason, Reason::BUDGET_EVENTS);
  EXPECT_FALSE(plan.traces());
}

TEST(Plan, SamplesDownASessionThatIsOverItsBudgetAndSaysSo) {
  auto plan = make_plan(
      running(binary()), one(http_session("s")), {},
      {{"s", {0.25, Reason::BUDGET_CPU, "sampled down"}}});

  EXPECT_EQ(plan.outcomes[0].state, AssignmentStatus::PARTIAL);
  EXPECT_EQ(plan.outcomes[0].reason, Reason::BUDGET_CPU);
  EXPECT_EQ(plan.config.sampling_threshold, threshold_of(0.25));
}

ProcessOutcome outcome(uint32_t pid, AssignmentStatus::State state, Reason::Code reason = {}) {
  return {pid, "/app/x", {"s", 0, state, reason, reason == 0 ? "" : "why"}};
}

TEST(Status, SumsUpTheProcesses) {
  EXPECT_EQ(
      session_status({outcome(1, AssignmentStatus::ACTIVE)}).state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(
      session_status({outcome(1, AssignmentStatus::ACTIVE),
                      outcome(2, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING)})
          .state(),
      AssignmentStatus::PARTIAL);
  auto none = session_status({outcome(1, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING)});
  EXPECT_EQ(none.state(), AssignmentStatus::REJECTED);
  EXPECT_EQ(none.reason(), Reason::LAYOUT_MISSING);
  EXPECT_EQ(none.detail(), "why");
}

TEST(Status, SaysWhenNothingMatches) {
  auto status = session_status({});

  EXPECT_EQ(status.state(), AssignmentStatus::SKIPPED);
  EXPECT_EQ(status.reason(), Reason::NO_MATCHING_PROCESS);
}

TEST(Status, NamesTheMostFrequentReason) {
  auto status = session_status(
      {outcome(1, AssignmentStatus::REJECTED, Reason::SYMBOL_NOT_FOUND),
       outcome(2, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING),
       outcome(3, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING)});

  EXPECT_EQ(status.reason(), Reason::LAYOUT_MISSING);
  EXPECT_EQ(status.probes_size(), 3);
}

TEST(Status, IsBoundedAndSaysWhatItLeavesOut) {
  std::vector<ProcessOutcome> outcomes(300, outcome(1, AssignmentStatus::ACTIVE));

  auto status = session_status(outcomes);

  EXPECT_EQ(status.probes_size(), 256);
  EXPECT_NE(status.detail().find("256 of 300"), std::string::npos);
}

} // namespace
} // namespace agent::plan
