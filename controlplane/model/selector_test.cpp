#include "controlplane/model/selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace {

using namespace controlplane::model;
using sonde::v1::Selector;
using testing::ElementsAre;
using testing::IsEmpty;

AgentView agent(const std::string& id, Labels labels = {}) {
  return {.agent_id = id, .hostname = "h-" + id, .labels = std::move(labels), .online = true};
}

std::vector<AgentView> fleet(int size) {
  std::vector<AgentView> agents;
  for (int i = 0; i < size; ++i) agents.push_back(agent("agent-" + std::to_string(i)));
  return agents;
}

Selector everything(int max_hosts = 0) {
  Selector selector;
  selector.set_hosts("*");
  selector.set_max_hosts(max_hosts);
  return selector;
}

TEST(Selector, RefusesWhatIsEmptyOrMalformedAtItsField) {
  auto refusal = [](const Selector& selector) {
    auto checked = check_selector(selector, "session.selector");
    return checked.ok() ? std::string("ok")
                        : std::string(checked.error().reason) + " " + checked.error().field;
  };
  Selector selector;
  EXPECT_EQ(refusal(selector), "EMPTY_SELECTOR session.selector");
  selector.set_max_hosts(3);
  EXPECT_EQ(refusal(selector), "EMPTY_SELECTOR session.selector")
      << "a limit alone selects nothing";
  selector.set_hosts(" \t");
  EXPECT_EQ(refusal(selector), "EMPTY_SELECTOR session.selector") << "nor do spaces";
  selector.set_hosts("env=");
  EXPECT_EQ(refusal(selector), "ok");
  selector.set_hosts("env==,");
  EXPECT_EQ(refusal(selector), "INVALID_LABEL_SELECTOR session.selector.hosts");
  selector.set_hosts("*");
  selector.set_max_hosts(-1);
  EXPECT_EQ(refusal(selector), "INVALID_SELECTOR session.selector.maxHosts");
  selector.set_max_hosts(0);
  selector.set_service(std::string(2000, 's'));
  EXPECT_EQ(refusal(selector), "INVALID_SELECTOR session.selector.service");
  selector.set_service("s");
  selector.add_pids(0);
  EXPECT_EQ(refusal(selector), "INVALID_SELECTOR session.selector.pids");
}

TEST(Selector, ChoosesHostsByLabelsAndIds) {
  Selector selector;
  selector.set_hosts("env=prod,hostname=h-a");
  AgentView a = agent("a");
  a.labels = merge_labels({{"env", "prod"}}, {{"env", "dev"}, {"x", "1"}}, "h-a");

  EXPECT_TRUE(selects_agent(selector, a)) << "assigned labels win over reported ones";
  EXPECT_FALSE(selects_agent(selector, agent("b", {{"env", "prod"}})));
  selector.add_agent_ids("b");
  EXPECT_FALSE(selects_agent(selector, a));
}

TEST(Selector, ChoosesProcessesByServiceExecutableAndPid) {
  sonde::v1::Process process;
  process.set_pid(7);
  process.set_service("checkout");
  process.set_executable("/app/bin/checkout");
  Selector selector;
  selector.set_service("check*");
  selector.set_executable("/app/*");

  EXPECT_TRUE(selects_process(selector, process)) << "* crosses slashes";
  selector.add_pids(8);
  EXPECT_FALSE(selects_process(selector, process));
  selector.add_pids(7);
  EXPECT_TRUE(selects_process(selector, process));
  selector.set_service("Checkout");
  EXPECT_FALSE(selects_process(selector, process));
}

TEST(ChooseAgents, TakesAllWithoutALimit) {
  EXPECT_EQ(choose_agents("s", everything(), fleet(5)).size(), 5u);
}

TEST(ChooseAgents, IsTheSameForEveryReplicaAndDiffersBySession) {
  auto agents = fleet(50);
  auto chosen = choose_agents("session-1", everything(5), agents);
  std::reverse(agents.begin(), agents.end());

  EXPECT_EQ(choose_agents("session-1", everything(5), agents), chosen);
  EXPECT_NE(choose_agents("session-2", everything(5), agents), chosen);
}

TEST(ChooseAgents, KeepsWhoHasItAndPrefersWhoIsOnline) {
  auto agents = fleet(3);
  agents[0].online = false;
  agents[1].online = false;

  EXPECT_THAT(choose_agents("s", everything(1), agents), ElementsAre("agent-2"));
  const std::vector<std::string> had{"agent-0"};
  EXPECT_THAT(choose_agents("s", everything(1), agents, had), ElementsAre("agent-0"));
}

TEST(ChooseAgents, GivesDrainingAgentsNothingNew) {
  auto agents = fleet(1);
  agents[0].accepts_sessions = false;

  EXPECT_THAT(choose_agents("s", everything(), agents), IsEmpty());
  const std::vector<std::string> had{"agent-0"};
  EXPECT_THAT(choose_agents("s", everything(), agents, had), ElementsAre("agent-0"));
}

} // namespace
