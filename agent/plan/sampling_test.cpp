#include "agent/plan/sampling.h"

#include <gtest/gtest.h>

namespace agent::plan {
namespace {

sonde::v1::Sampling wish(double ratio, int32_t rate) {
  sonde::v1::Sampling sampling;
  sampling.set_ratio(ratio);
  sampling.set_spans_per_second(rate);
  return sampling;
}

sonde::v1::SamplingRule rule(const std::string& service, double ratio, int32_t rate) {
  sonde::v1::SamplingRule rule;
  rule.mutable_selector()->set_service(service);
  rule.set_ratio(ratio);
  rule.set_spans_per_second(rate);
  return rule;
}

const Subject kCheckout{7, "checkout", "/app/checkout"};

TEST(Sampling, ThresholdSplitsTheRandomnessAtTheRatio) {
  EXPECT_EQ(threshold_of(1), 0U);
  EXPECT_EQ(threshold_of(0), kRandomnessEnd);
  EXPECT_EQ(threshold_of(0.5), kRandomnessEnd / 2);
  EXPECT_EQ(threshold_of(-1), kRandomnessEnd);
  EXPECT_EQ(threshold_of(2), 0U);
}

TEST(Sampling, KeepsEverythingWhenNothingIsSaid) {
  auto sampling = sampling_of({}, {}, kCheckout, 1);

  EXPECT_EQ(sampling.threshold, 0U);
  EXPECT_EQ(sampling.spans_per_second, 0U);
}

TEST(Sampling, OfASessionIsCappedByEveryMatchingRule) {
  std::vector rules{rule("check*", 0.25, 100), rule("check*", 0.5, 10), rule("billing", 0, 1)};

  auto sampling = sampling_of(wish(1, 0), rules, kCheckout, 1);

  EXPECT_EQ(sampling.threshold, threshold_of(0.25));
  EXPECT_EQ(sampling.spans_per_second, 10U);
}

TEST(Sampling, IsNeverRaisedByARule) {
  std::vector rules{rule("*", 1, 1000)};

  auto sampling = sampling_of(wish(0.1, 5), rules, kCheckout, 1);

  EXPECT_EQ(sampling.threshold, threshold_of(0.1));
  EXPECT_EQ(sampling.spans_per_second, 5U);
}

TEST(Sampling, IgnoresADisabledRule) {
  std::vector rules{rule("*", 0, 0)};
  rules[0].set_disabled(true);

  EXPECT_EQ(sampling_of(wish(1, 0), rules, kCheckout, 1).threshold, 0U);
}

TEST(Sampling, IsMultipliedByTheShareThatTheBudgetLeaves) {
  EXPECT_EQ(sampling_of(wish(0.5, 0), {}, kCheckout, 0.5).threshold, threshold_of(0.25));
}

TEST(Sampling, LosesItsTailRulesUnderACap) {
  auto slow = wish(0.1, 0);
  slow.set_keep_errors(true);
  std::vector rules{rule("*", 0.5, 0)};

  EXPECT_TRUE(sampling_of(slow, {}, kCheckout, 1).has_tail_rules());
  EXPECT_FALSE(sampling_of(slow, rules, kCheckout, 1).has_tail_rules());
}

TEST(Sampling, InTheKernelIsTheLoosestOfAllSessions) {
  std::vector sessions{
      sampling_of(wish(0.1, 50), {}, kCheckout, 1), sampling_of(wish(0.2, 10), {}, kCheckout, 1)};

  auto kernel = loosest(sessions);

  EXPECT_EQ(kernel.threshold, threshold_of(0.2));
  EXPECT_EQ(kernel.spans_per_second, 50U);
}

TEST(Sampling, InTheKernelHasNoCapWhenOneSessionHasNone) {
  std::vector sessions{
      sampling_of(wish(0.1, 50), {}, kCheckout, 1), sampling_of(wish(0.1, 0), {}, kCheckout, 1)};

  EXPECT_EQ(loosest(sessions).spans_per_second, 0U);
}

TEST(Sampling, InTheKernelLetsEverythingThroughForTailRules) {
  auto errors = wish(0, 10);
  errors.set_keep_errors(true);
  std::vector sessions{sampling_of(errors, {}, kCheckout, 1)};

  EXPECT_EQ(loosest(sessions).threshold, 0U);
  EXPECT_EQ(loosest(sessions).spans_per_second, 0U);
}

TEST(Selector, JoinsItsFieldsByAnd) {
  sonde::v1::Selector selector;
  selector.set_service("check*");
  selector.set_executable("/app/*");
  EXPECT_TRUE(matches(selector, kCheckout));

  selector.add_pids(8);
  EXPECT_FALSE(matches(selector, kCheckout));

  selector.add_pids(7);
  EXPECT_TRUE(matches(selector, kCheckout));
}

TEST(Selector, CrossesSlashesWithAStar) {
  EXPECT_TRUE(matches("/app/*", "/app/bin/x"));
  EXPECT_FALSE(matches("/app/*", "/opt/app/x"));
  EXPECT_TRUE(matches("", "anything"));
}

} // namespace
} // namespace agent::plan
