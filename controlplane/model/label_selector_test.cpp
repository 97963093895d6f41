#include "controlplane/model/label_selector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

using controlplane::model::Labels;
using controlplane::model::LabelSelector;

const Labels kHost{{"env", "prod"}, {"zone", "a"}, {"empty", ""}, {"k8s.io/name", "x-1_2"}};

bool matches(std::string_view text) {
  auto selector = LabelSelector::parse(text);
  EXPECT_TRUE(selector.ok()) << text << ": " << selector.error().message;
  return selector.ok() && selector->matches(kHost);
}

TEST(LabelSelector, MatchesAsKubernetesDoes) {
  for (const char* text :
       {"", " ", "*", "env=prod", "env==prod", " env = prod ", "env", "!canary", "env!=dev",
        "canary!=true", "zone in (a,b)", "zone in ( b , a )", "zone notin (c)", "canary notin (x)",
        "env=prod,zone=a,!canary", "k8s.io/name=x-1_2", "empty=", "empty in ()", "*,env=prod"})
    EXPECT_TRUE(matches(text)) << text;
  for (const char* text :
       {"env=dev", "env=", "!env", "canary", "canary=", "env!=prod", "zone in (b,c)",
        "zone notin (a)", "env=prod,zone=b", "canary in (a)"})
    EXPECT_FALSE(matches(text)) << text;
}

TEST(LabelSelector, TakesInAsANameToo) {
  auto selector = LabelSelector::parse("in in (in),notin");

  ASSERT_TRUE(selector.ok());
  EXPECT_TRUE(selector->matches({{"in", "in"}, {"notin", "1"}}));
}

TEST(LabelSelector, SaysWhereItWentWrong) {
  for (const char* text :
       {",", "env=prod,", "env=prod zone=a", "env in a", "env in (a", "env in (a b)", "env!prod",
        "=prod", "!", "!env=prod", "env<3", "env=\"prod\"", "env in", "env near (a)", "env=a=b"}) {
    auto selector = LabelSelector::parse(text);
    ASSERT_FALSE(selector.ok()) << text;
    EXPECT_EQ(selector.error().reason, "INVALID_LABEL_SELECTOR");
    EXPECT_THAT(selector.error().message, testing::HasSubstr("at position"));
  }
}

TEST(LabelSelector, HasLimits) {
  EXPECT_FALSE(LabelSelector::parse(std::string(300, 'a')).ok());
  EXPECT_FALSE(LabelSelector::parse(std::string(2000, ' ')).ok());
  std::string many = "a";
  for (int i = 0; i < 40; ++i) many += ",a";
  EXPECT_FALSE(LabelSelector::parse(many).ok());
}

} // namespace
