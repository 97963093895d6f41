#include "agent/probe/budget.h"

#include "agent/probe/limits.h"

#include <gtest/gtest.h>

namespace agent::probe {
namespace {

using namespace std::chrono_literals;
using sonde::v1::Reason;

// Feeds one window after the other with a cost per second.
struct Load {
  BudgetMeter meter{{0.02, 1000}, 0s};
  base::Nanoseconds now{0};
  Cost total;

  void second(base::Nanoseconds cpu, uint64_t events) {
    now += 1s;
    total.cpu += cpu;
    total.events += events;
    meter.measure(total, now);
  }
};

TEST(Budget, LeavesASessionAloneThatStaysWithin) {
  Load load;

  for (int i = 0; i < 20; ++i) load.second(19ms, 999);

  EXPECT_EQ(load.meter.verdict(), plan::BudgetVerdict{});
}

TEST(Budget, SamplesDownToWhatFits) {
  Load load;

  load.second(40ms, 10);

  EXPECT_NEAR(load.meter.verdict().share, 0.4, 0.01);
  EXPECT_EQ(load.meter.verdict().reason, Reason::BUDGET_CPU);
}

TEST(Budget, NamesTheLimitThatIsExceededMost) {
  Load load;

  load.second(21ms, 3000);

  EXPECT_EQ(load.meter.verdict().reason, Reason::BUDGET_EVENTS);
}

TEST(Budget, DetachesWhatStaysTooDearAndTriesAgain) {
  Load load;

  for (int i = 0; i < 6; ++i) load.second(100ms, 10);
  EXPECT_EQ(load.meter.verdict().share, 0);
  EXPECT_EQ(load.meter.verdict().reason, Reason::BUDGET_CPU);
  for (int i = 0; i < 30; ++i) load.second(0ms, 0);

  EXPECT_NEAR(load.meter.verdict().share, kRetryShare, 0.01);
}

TEST(Budget, GivesTheShareBackWhenTheLoadIsGone) {
  Load load;

  load.second(40ms, 10);
  for (int i = 0; i < 12; ++i) load.second(1ms, 1);

  EXPECT_EQ(load.meter.verdict(), plan::BudgetVerdict{});
}

TEST(Budget, OfThePolicyCannotBeExceededByTheSession) {
  sonde::v1::Budget wish;
  wish.set_cpu_fraction(0.5);
  plan::LocalPolicy policy;
  policy.cpu_fraction_max = 0.01;
  policy.events_per_second_max = 5;

  auto limits = limits_of(wish, policy);

  EXPECT_EQ(limits.cpu_fraction, 0.01);
  EXPECT_EQ(limits.events_per_second, 5);
}

} // namespace
} // namespace agent::probe
