// The part of AIP-160 that lists understand: comparisons joined by AND.
//
//   state = "ACTIVE" AND created_by != "ann" AND create_time > "2026-01-01T00:00:00Z"
//
// In a value of free text * stands for anything: hostname = "web-*". There is no OR, NOT nor
// parenthesis.
#pragma once

#include "base/result.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::model {

enum class FilterOperator { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual };
enum class FilterType { kText, kNumber, kTime, kDuration };

// A field that a list can be filtered by.
struct FilterField {
  std::string_view name;
  FilterType type = FilterType::kText;
  // Not empty: the values it can have.
  std::span<const std::string_view> values = {};
};

struct FilterCondition {
  std::string field;
  FilterOperator op = FilterOperator::kEqual;
  // As written, without quotes, except: a number is a number, a time is RFC 3339, a duration is
  // seconds.
  std::string value;
};

// Empty text gives no conditions. INVALID_FILTER at "filter" names the place and what was expected;
// order comparisons of text are refused, and values that the type or the field does not have.
base::Result<std::vector<FilterCondition>>
parse_filter(std::string_view text, std::span<const FilterField> fields);

} // namespace controlplane::model
