#include "controlplane/model/filter.h"

#include "controlplane/model/limits.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace controlplane::model {
namespace {

using base::Result;

// filter = [condition {AND condition}], condition = field operator value, value = word | 'string' |
// "string"
class Parser {
 public:
  Parser(std::string_view text, std::span<const FilterField> fields)
      : text_(text), fields_(fields) {}

  Result<std::vector<FilterCondition>> parse() {
    std::vector<FilterCondition> conditions;
    skip_space();
    while (!at_end()) {
      if (!conditions.empty() && take_word() != "AND")
        return error("expected AND between comparisons (OR, NOT and parentheses do not exist)");
      if (conditions.size() == kFilterConditionsMax)
        return error(fmt::format("at most {} comparisons", kFilterConditionsMax));
      conditions.push_back(TRY(parse_condition()));
      skip_space();
    }
    return conditions;
  }

 private:
  Result<FilterCondition> parse_condition() {
    std::string name = take_word();
    auto field = std::find_if(
        fields_.begin(), fields_.end(), [&](const FilterField& f) { return f.name == name; });
    if (field == fields_.end()) return error(fmt::format("expected a field, one of {}", names()));
    FilterCondition condition{name, TRY(parse_operator()), TRY(parse_value())};
    TRY(check(*field, condition));
    return condition;
  }

  Result<FilterOperator> parse_operator() {
    skip_space();
    struct Spelling {
      std::string_view text;
      FilterOperator op;
    };
    static constexpr Spelling kSpellings[] = {
        {"!=", FilterOperator::kNotEqual},
        {"<=", FilterOperator::kLessOrEqual},
        {">=", FilterOperator::kGreaterOrEqual},
        {"=", FilterOperator::kEqual},
        {"<", FilterOperator::kLess},
        {">", FilterOperator::kGreater}};
    for (const Spelling& spelling : kSpellings) {
      if (!text_.substr(position_).starts_with(spelling.text)) continue;
      position_ += spelling.text.size();
      return spelling.op;
    }
    return error("expected =, !=, <, <=, > or >=");
  }

  Result<std::string> parse_value() {
    skip_space();
    if (at_end()) return error("expected a value");
    char quote = text_[position_];
    if (quote != '"' && quote != '\'') {
      std::string word = take_word();
      if (word.empty()) return error("expected a value");
      return word;
    }
    ++position_;
    std::string value;
    while (!at_end() && text_[position_] != quote) {
      if (text_[position_] == '\\' && position_ + 1 < text_.size()) ++position_;
      value += text_[position_++];
    }
    if (at_end()) return error(fmt::format("expected the closing {}", quote));
    ++position_;
    return value;
  }

  Result<> check(const FilterField& field, FilterCondition& condition) const {
    const bool is_order =
        condition.op != FilterOperator::kEqual && condition.op != FilterOperator::kNotEqual;
    if (field.type == FilterType::kText && is_order)
      return error(fmt::format("{} can be compared with = and != only", field.name));
    if (!field.values.empty() &&
        std::find(field.values.begin(), field.values.end(), condition.value) == field.values.end())
      return error(fmt::format(
          "{} is one of {}, not '{}'", field.name, fmt::join(field.values, ", "), condition.value));
    switch (field.type) {
    case FilterType::kText:
      return {};
    case FilterType::kNumber: {
      if (!parse_number(condition.value))
        return error(fmt::format("{} is a number, not '{}'", field.name, condition.value));
      return {};
    }
    case FilterType::kTime: {
      google::protobuf::Timestamp time;
      if (!google::protobuf::util::TimeUtil::FromString(condition.value, &time))
        return error(fmt::format(
            "{} is a time such as 2026-01-31T12:00:00Z, not '{}'", field.name, condition.value));
      return {};
    }
    case FilterType::kDuration: {
      std::string& value = condition.value;
      if (!value.ends_with('s') ||
          !parse_number(std::string_view(value).substr(0, value.size() - 1)))
        return error(
            fmt::format("{} is a duration such as 0.1s, not '{}'", field.name, condition.value));
      value.pop_back();
      return {};
    }
    }
    __builtin_unreachable();
  }

  static std::optional<double> parse_number(std::string_view text) {
    double number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if (number != number || number - number != 0) return std::nullopt; // nan, inf
    return number;
  }

  std::string take_word() {
    skip_space();
    size_t begin = position_;
    while (!at_end() &&
           std::string_view(" \t\n()=!<>\"'").find(text_[position_]) == std::string_view::npos)
      ++position_;
    return std::string(text_.substr(begin, position_ - begin));
  }

  std::string names() const {
    std::vector<std::string_view> names;
    for (const FilterField& field : fields_) names.push_back(field.name);
    return fmt::format("{}", fmt::join(names, ", "));
  }

  base::Error error(std::string_view what) const {
    return base::invalid_argument(
               "INVALID_FILTER",
               fmt::format("{}, near position {} of '{}'", what, position_, text_))
        .at("filter");
  }

  bool at_end() const { return position_ >= text_.size(); }
  void skip_space() {
    while (!at_end() &&
           (text_[position_] == ' ' || text_[position_] == '\t' || text_[position_] == '\n'))
      ++position_;
  }

  std::string_view text_;
  std::span<const FilterField> fields_;
  size_t position_ = 0;
};

} // namespace

Result<std::vector<FilterCondition>>
parse_filter(std::string_view text, std::span<const FilterField> fields) {
  if (text.size() > kFilterBytesMax)
    return base::invalid_argument(
               "INVALID_FILTER", fmt::format("a filter has at most {} bytes", kFilterBytesMax))
        .at("filter");
  if (text.find('\0') != std::string_view::npos)
    return base::invalid_argument("INVALID_FILTER", "a filter has no null characters").at("filter");
  return Parser(text, fields).parse();
}

} // namespace controlplane::model
