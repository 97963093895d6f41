#include "controlplane/model/desired_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

using namespace controlplane::model;
using namespace sonde::v1;
using testing::ElementsAre;

Session session(const std::string& id, Session::State state = Session::ACTIVE) {
  Session session;
  session.set_id(id);
  session.set_state(state);
  session.mutable_selector()->set_hosts("env=prod");
  session.mutable_selector()->set_service("checkout");
  session.add_probes()->mutable_http();
  return session;
}

SamplingRule rule(const std::string& id, const std::string& hosts) {
  SamplingRule rule;
  rule.set_id(id);
  rule.mutable_selector()->set_hosts(hosts);
  rule.set_ratio(0.5);
  return rule;
}

OffsetTable table(const std::string& id, const std::string& architecture) {
  OffsetTable table;
  table.set_id(id);
  table.set_architecture(architecture);
  table.set_go_version("go1.22.12");
  return table;
}

const AgentView kAgent{
    .agent_id = "a", .architecture = "amd64", .labels = {{"env", "prod"}}, .online = true};

std::vector<std::string> names(const std::vector<Assignment>& assignments) {
  std::vector<std::string> names;
  for (const auto& each : assignments) names.push_back(each.key().name());
  return names;
}

TEST(DesiredState, HasWhatIsForThisAgentInOrder) {
  const std::vector<Session> sessions{
      session("s2"), session("s1"), session("s3"), session("s4", Session::STOPPING)};
  SamplingRule disabled = rule("r0", "*");
  disabled.set_disabled(true);
  const std::vector<SamplingRule> rules{rule("r2", "env=dev"), rule("r1", "env=prod"), disabled};
  const std::vector<OffsetTable> tables{table("t1", "amd64"), table("t2", "arm64")};
  AgentSettings settings;
  const std::vector<std::string> assigned{"s1", "s2", "s4", "s-unknown"};

  auto desired = desired_assignments(
      kAgent, assigned,
      {.sessions = sessions, .rules = rules, .tables = tables, .settings = &settings});

  EXPECT_THAT(names(desired), ElementsAre("s1", "s2", "r1", "t1", ""));
  EXPECT_EQ(desired[4].key().type(), AssignmentKey::SETTINGS);
}

TEST(DesiredState, SaysNothingOfOtherHostsToAnAgent) {
  Session s = session("s1");
  s.mutable_selector()->add_agent_ids("somebody-else");
  s.mutable_selector()->set_max_hosts(3);

  auto selector = assignment_of(s).session().selector();

  EXPECT_EQ(selector.service(), "checkout");
  EXPECT_EQ(selector.hosts(), "");
  EXPECT_EQ(selector.agent_ids_size(), 0);
  EXPECT_EQ(selector.max_hosts(), 0);
}

TEST(DesiredState, ChangesTheVersionWithWhatTheAgentGetsAndNothingElse) {
  Session s = session("s1");
  const std::string version = assignment_of(s).version();
  EXPECT_EQ(version.size(), 64u);

  s.set_state(Session::STARTING);
  s.set_state_detail("…");
  s.mutable_selector()->set_hosts("*");
  s.set_etag("7");
  s.mutable_expire_time()->set_seconds(1);
  EXPECT_EQ(assignment_of(s).version(), version);
  s.mutable_sampling()->set_ratio(0.5);
  EXPECT_NE(assignment_of(s).version(), version);
}

TEST(Delta, HasOnlyWhatTheAgentDoesNotHold) {
  std::vector<Assignment> desired{
      assignment_of(session("same")), assignment_of(session("newer")),
      assignment_of(rule("new", "*"))};
  std::vector<HeldAssignment> held(3);
  *held[0].mutable_key() = desired[0].key();
  held[0].set_version(desired[0].version());
  *held[1].mutable_key() = desired[1].key();
  held[1].set_version("older");
  held[2].mutable_key()->set_type(AssignmentKey::OFFSET_TABLE);
  held[2].mutable_key()->set_name("gone");

  Delta delta = delta_between(held, desired);

  ASSERT_EQ(delta.assignments_size(), 2);
  EXPECT_EQ(delta.assignments(0).key().name(), "newer");
  EXPECT_EQ(delta.assignments(1).key().name(), "new");
  ASSERT_EQ(delta.removed_size(), 1);
  EXPECT_EQ(delta.removed(0).name(), "gone");
  EXPECT_EQ(delta.removed(0).type(), AssignmentKey::OFFSET_TABLE);
}

} // namespace
