#include "agent/plan/local_policy.h"

#include <gtest/gtest.h>

namespace agent::plan {
namespace {

TEST(LocalPolicy, ForbidsProcessesByExecutableServiceAndPid) {
  auto policy = parse_local_policy(R"(
neverTouch:
  executables: ["/usr/bin/vault*"]
  services: ["payments"]
  pids: [4711]
)");

  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_TRUE(forbids(*policy, {1, "x", "/usr/bin/vault-agent"}));
  EXPECT_TRUE(forbids(*policy, {1, "payments", "/app/x"}));
  EXPECT_TRUE(forbids(*policy, {4711, "x", "/app/x"}));
  EXPECT_FALSE(forbids(*policy, {1, "checkout", "/app/checkout"}));
}

TEST(LocalPolicy, LimitsSessionsAndBudgets) {
  auto policy = parse_local_policy("{forbiddenProbes: [http, sql], limits: {sessions: 2, "
                                   "cpuFraction: 0.01, eventsPerSecond: 50}}");

  ASSERT_TRUE(policy.ok()) << policy.error().message;
  EXPECT_TRUE(policy->forbidden_probes.contains("sql"));
  EXPECT_EQ(policy->sessions_max, 2U);
  EXPECT_EQ(policy->cpu_fraction_max, 0.01);
  EXPECT_EQ(policy->events_per_second_max, 50);
}

TEST(LocalPolicy, OfAnEmptyFileForbidsNothing) {
  auto policy = parse_local_policy("# nothing\n");

  ASSERT_TRUE(policy.ok());
  EXPECT_FALSE(forbids(*policy, {1, "a", "/b"}));
}

TEST(LocalPolicy, RefusesWhatItDoesNotUnderstand) {
  for (const char* text :
       {"forbidenProbes: [http]", "forbiddenProbes: [htpp]", "neverTouch: {executable: [/a]}",
        "neverTouch: [/a]", "neverTouch: {pids: [x]}", "limits: {cpuFraction: -1}", "a: [",
        "just words"}) {
    auto policy = parse_local_policy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_EQ(policy.error().reason, "POLICY_INVALID") << text;
  }
}

} // namespace
} // namespace agent::plan
