#include "controlplane/model/desired_state.h"

#include <gtest/gtest.h>

namespace {

using namespace controlplane::model;
using namespace sonde::v1;

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

TEST(DesiredState, IsChosenByHostsAndArchitecture) {
  SamplingRule disabled = rule("r", "*");
  disabled.set_disabled(true);

  EXPECT_TRUE(is_for(rule("r", "env=prod"), kAgent));
  EXPECT_FALSE(is_for(rule("r", "env=dev"), kAgent));
  EXPECT_FALSE(is_for(disabled, kAgent));
  EXPECT_TRUE(is_for(table("t", "amd64"), kAgent));
  EXPECT_FALSE(is_for(table("t", "arm64"), kAgent));
}

TEST(DesiredState, NamesEveryKind) {
  auto of_session = assignment_of(session("s1"));
  auto of_rule = assignment_of(rule("r1", "*"));
  auto of_table = assignment_of(table("t1", "amd64"));
  auto of_settings = assignment_of(AgentSettings());

  EXPECT_EQ(of_session.key().type(), AssignmentKey::SESSION);
  EXPECT_EQ(of_session.key().name(), "s1");
  EXPECT_EQ(of_rule.key().type(), AssignmentKey::SAMPLING_RULE);
  EXPECT_EQ(of_rule.sampling_rule().ratio(), 0.5);
  EXPECT_EQ(of_table.key().type(), AssignmentKey::OFFSET_TABLE);
  EXPECT_EQ(of_table.offset_table().go_version(), "go1.22.12");
  EXPECT_EQ(of_settings.key().type(), AssignmentKey::SETTINGS);
  EXPECT_EQ(of_settings.key().name(), "");
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

} // namespace
