#include "controlplane/model/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

using namespace controlplane::model;

constexpr std::string_view kStates[] = {"ACTIVE", "FAILED"};
const FilterField kFields[] = {
    {"state", FilterType::kText, kStates},
    {"created_by"},
    {"create_time", FilterType::kTime},
    {"duration", FilterType::kDuration},
    {"spans", FilterType::kNumber}};

TEST(Filter, ReadsComparisonsJoinedByAnd) {
  auto conditions = parse_filter(
      R"(state = "ACTIVE" AND created_by!='o\'hara' AND create_time>="2026-01-01T00:00:00Z" )"
      R"(AND duration > "0.1s" AND spans<=10)",
      kFields);

  ASSERT_TRUE(conditions.ok()) << conditions.error().message;
  ASSERT_EQ(conditions->size(), 5u);
  EXPECT_EQ((*conditions)[0].value, "ACTIVE");
  EXPECT_EQ((*conditions)[1].op, FilterOperator::kNotEqual);
  EXPECT_EQ((*conditions)[1].value, "o'hara");
  EXPECT_EQ((*conditions)[2].op, FilterOperator::kGreaterOrEqual);
  EXPECT_EQ((*conditions)[3].value, "0.1");
  EXPECT_EQ((*conditions)[4].op, FilterOperator::kLessOrEqual);
}

TEST(Filter, IsEmptyForEmptyText) {
  EXPECT_TRUE(parse_filter("", kFields)->empty());
  EXPECT_TRUE(parse_filter("  ", kFields)->empty());
}

TEST(Filter, RefusesWhatItDoesNotUnderstand) {
  for (const char* text :
       {"state",
        "state =",
        "state = ACTIVE created_by = x",
        "state = ACTIVE AND",
        "state = NOPE",
        "state > ACTIVE",
        "unknown = 1",
        "state ~ x",
        "create_time > yesterday",
        "duration = 5",
        "duration = xs",
        "spans = nan",
        "spans = 1e999",
        "created_by = \"open",
        "(state = ACTIVE)",
        "state = ACTIVE OR state = FAILED",
        "NOT state = ACTIVE",
        "state = ACTIVE and spans = 1",
        "= x",
        "AND",
        "created_by < bob"}) {
    auto conditions = parse_filter(text, kFields);
    ASSERT_FALSE(conditions.ok()) << text;
    EXPECT_EQ(conditions.error().reason, "INVALID_FILTER");
    EXPECT_EQ(conditions.error().field, "filter");
  }
}

TEST(Filter, HasLimits) {
  EXPECT_FALSE(parse_filter(std::string(5000, ' '), kFields).ok());
  std::string many = "spans = 1";
  for (int i = 0; i < 20; ++i) many += " AND spans = 1";
  EXPECT_FALSE(parse_filter(many, kFields).ok());
  EXPECT_FALSE(parse_filter(std::string_view("spans = 1\0", 10), kFields).ok());
}

} // namespace
