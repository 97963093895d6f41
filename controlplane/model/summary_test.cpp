#include "controlplane/model/summary.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace controlplane::model;
using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

TEST(Summary, CountsHostsByStateAndByReason) {
  const std::vector<StatusCount> counts{
      {AssignmentStatus::ACTIVE, Reason::CODE_UNSPECIFIED, 47, 60},
      {AssignmentStatus::PARTIAL, Reason::LAYOUT_MISSING, 1, 1},
      {AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING, 2, 0},
      {AssignmentStatus::OFFLINE, Reason::CODE_UNSPECIFIED, 1, 0}};

  auto summary = roll_up(counts);

  EXPECT_EQ(summary.hosts(), 51);
  EXPECT_EQ(summary.processes(), 61);
  ASSERT_EQ(summary.states_size(), 4);
  EXPECT_EQ(summary.states(0).state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(summary.states(0).hosts(), 47);
  ASSERT_EQ(summary.reasons_size(), 1);
  EXPECT_EQ(summary.reasons(0).reason(), Reason::LAYOUT_MISSING);
  EXPECT_EQ(summary.reasons(0).hosts(), 3);
}

TEST(Summary, AddsUsageAndLossesByReason) {
  sonde::v1::Usage sum, one;
  one.set_events(3);
  one.set_bpf_cpu_seconds(0.5);
  auto* loss = one.add_losses();
  loss->set_reason("RING_FULL");
  loss->set_count(2);

  add_usage(sum, one);
  one.mutable_losses(0)->set_reason("HEAD_TRUNCATED");
  add_usage(sum, one);
  add_usage(sum, one);

  EXPECT_EQ(sum.events(), 9u);
  EXPECT_EQ(sum.bpf_cpu_seconds(), 1.5);
  ASSERT_EQ(sum.losses_size(), 2);
  EXPECT_EQ(sum.losses(0).reason(), "HEAD_TRUNCATED");
  EXPECT_EQ(sum.losses(0).count(), 4u);
  EXPECT_EQ(sum.losses(1).count(), 2u);
}

TEST(Summary, CountsAProcessOnceHoweverManyProbesItHas) {
  AssignmentStatus status;
  for (uint32_t pid : {7u, 7u, 8u, 9u}) {
    auto* probe = status.add_probes();
    probe->set_pid(pid);
    probe->set_state(pid == 9 ? AssignmentStatus::REJECTED : AssignmentStatus::ACTIVE);
  }

  EXPECT_EQ(active_processes(status), 2);
}

} // namespace
