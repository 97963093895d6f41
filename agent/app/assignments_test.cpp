#include "agent/app/assignments.h"

#include <gtest/gtest.h>

namespace agent::app {
namespace {

using namespace std::chrono_literals;
using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;

sonde::v1::Assignment*
add(sonde::v1::Delta& delta, AssignmentKey::Type type, const std::string& name) {
  auto* assignment = delta.add_assignments();
  assignment->mutable_key()->set_type(type);
  assignment->mutable_key()->set_name(name);
  assignment->set_version("v-" + name);
  return assignment;
}

sonde::v1::Delta three_kinds() {
  sonde::v1::Delta delta;
  delta.set_nonce(5);
  add(delta, AssignmentKey::SESSION, "s")->mutable_session()->set_session_id("s");
  add(delta, AssignmentKey::SAMPLING_RULE, "r")->mutable_sampling_rule()->set_ratio(0.5);
  add(delta, AssignmentKey::OFFSET_TABLE, "t")->mutable_offset_table()->set_go_version("go1.22.12");
  auto& lease = *delta.add_leases();
  lease.set_session_id("s");
  lease.mutable_duration()->set_seconds(10);
  return delta;
}

TEST(Assignments, TakesInThreeKindsAndAnswersThoseThatNeedNoKernel) {
  Assignments assignments;

  auto ack = assignments.apply(three_kinds(), 100s);

  EXPECT_EQ(ack.nonce(), 5U);
  ASSERT_EQ(ack.assignments_size(), 1);
  EXPECT_EQ(ack.assignments(0).key().type(), AssignmentKey::SAMPLING_RULE);
  EXPECT_EQ(ack.assignments(0).status().state(), AssignmentStatus::ACTIVE);
  const auto& session = assignments.desired().sessions.at("s");
  EXPECT_EQ(session.deadline, base::Nanoseconds(110s));
  EXPECT_EQ(session.nonce, 5U);
  EXPECT_EQ(assignments.desired().sampling_rules.size(), 1U);
  EXPECT_EQ(assignments.desired().offset_tables.size(), 1U);
}

TEST(Assignments, HoldsWhatWasAssignedUntilItsLeaseEnds) {
  Assignments assignments;
  assignments.apply(three_kinds(), 100s);

  EXPECT_EQ(assignments.held(105s).size(), 3U);
  EXPECT_EQ(assignments.held(110s).size(), 2U);
}

TEST(Assignments, RefreshesOnlyWhatIsHeld) {
  Assignments assignments;
  assignments.apply(three_kinds(), 100s);
  sonde::v1::LeaseRefresh refresh;
  for (const auto* id : {"s", "other"}) {
    auto& lease = *refresh.add_leases();
    lease.set_session_id(id);
    lease.mutable_duration()->set_seconds(30);
  }

  auto deadlines = assignments.refresh(refresh.leases(), 108s);

  EXPECT_EQ(deadlines, (std::map<std::string, base::Nanoseconds>{{"s", 138s}}));
}

TEST(Assignments, AnswersARemovedSessionOnlyAfterItIsDetached) {
  Assignments assignments;
  assignments.apply(three_kinds(), 100s);
  sonde::v1::Delta delta;
  delta.set_nonce(6);
  auto& session = *delta.add_removed();
  session.set_type(AssignmentKey::SESSION);
  session.set_name("s");
  auto& rule = *delta.add_removed();
  rule.set_type(AssignmentKey::SAMPLING_RULE);
  rule.set_name("r");

  auto ack = assignments.apply(delta, 101s);

  ASSERT_EQ(ack.assignments_size(), 1);
  EXPECT_EQ(ack.assignments(0).key().name(), "r");
  EXPECT_EQ(ack.assignments(0).status().state(), AssignmentStatus::REMOVED);
  ASSERT_EQ(assignments.removed_sessions().assignments_size(), 1);
  EXPECT_EQ(assignments.removed_sessions().nonce(), 6U);
  EXPECT_TRUE(assignments.desired().sessions.empty());
}

TEST(Assignments, RefusesAKindThatIsNotKnown) {
  Assignments assignments;
  sonde::v1::Delta delta;
  add(delta, static_cast<AssignmentKey::Type>(99), "x");

  auto ack = assignments.apply(delta, 1s);

  ASSERT_EQ(ack.assignments_size(), 1);
  EXPECT_EQ(ack.assignments(0).status().state(), AssignmentStatus::REJECTED);
  EXPECT_TRUE(assignments.held(1s).empty());
}

TEST(Assignments, AsksForAnAnswerOnlyFromTheSessionsOfTheLastDelta) {
  Assignments assignments;
  assignments.apply(three_kinds(), 100s);
  sonde::v1::Delta delta;
  delta.set_nonce(6);
  add(delta, AssignmentKey::SESSION, "s2")->mutable_session();

  assignments.apply(delta, 101s);

  EXPECT_EQ(assignments.desired().sessions.at("s").nonce, 0U);
  EXPECT_EQ(assignments.desired().sessions.at("s2").nonce, 6U);
  EXPECT_EQ(assignments.desired().sessions.at("s2").spec.session_id(), "s2");
}

} // namespace
} // namespace agent::app
