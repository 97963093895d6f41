#include "controlplane/model/label_selector.h"

#include "controlplane/model/limits.h"

#include <fmt/format.h>

#include <algorithm>

namespace controlplane::model {
namespace {

using base::Result;

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '/' || c == ':' || c == '@' || c == '+';
}

} // namespace

// requirement = "*" | ["!"] key | key ("=" | "==" | "!=") value | key ("in" | "notin") "(" value
// {"," value} ")"
class LabelSelectorParser {
 public:
  explicit LabelSelectorParser(std::string_view text) : text_(text) {}

  Result<LabelSelector> parse() {
    LabelSelector selector;
    skip_space();
    if (at_end()) return selector;
    while (true) {
      TRY(parse_requirement(selector));
      if (selector.requirements_.size() > kLabelRequirementsMax)
        return error(fmt::format("at most {} requirements", kLabelRequirementsMax));
      skip_space();
      if (at_end()) return selector;
      if (!take(',')) return error("expected ',' between requirements");
    }
  }

 private:
  using Operator = LabelSelector::Operator;

  Result<> parse_requirement(LabelSelector& selector) {
    skip_space();
    if (take('*')) return {};
    bool negated = take('!');
    std::string key = TRY(parse_word("a label name"));
    skip_space();
    if (negated) return add(selector, key, Operator::kNotExists, {});
    if (at_end() || peek() == ',') return add(selector, key, Operator::kExists, {});
    if (take('!')) {
      if (!take('=')) return error("expected '!='");
      return add(selector, key, Operator::kNotIn, {TRY(parse_value())});
    }
    if (take('=')) {
      take('=');
      return add(selector, key, Operator::kIn, {TRY(parse_value())});
    }
    std::string word = TRY(parse_word("=, ==, !=, in or notin"));
    if (word != "in" && word != "notin")
      return error(fmt::format("expected =, ==, !=, in or notin, not '{}'", word));
    return add(selector, key, word == "in" ? Operator::kIn : Operator::kNotIn, TRY(parse_values()));
  }

  Result<std::set<std::string>> parse_values() {
    skip_space();
    if (!take('(')) return error("expected '(' and a list of values");
    std::set<std::string> values;
    while (true) {
      values.insert(TRY(parse_value()));
      skip_space();
      if (take(')')) return values;
      if (!take(',')) return error("expected ',' or ')' in the list of values");
    }
  }

  // Unlike a key, a value may be empty: "canary=".
  Result<std::string> parse_value() {
    skip_space();
    if (at_end() || !is_word_character(peek())) return std::string();
    return parse_word("a value");
  }

  Result<std::string> parse_word(std::string_view what) {
    skip_space();
    size_t begin = position_;
    while (!at_end() && is_word_character(peek())) ++position_;
    if (position_ == begin) return error(fmt::format("expected {}", what));
    if (position_ - begin > kLabelNameBytesMax)
      return error(fmt::format("a name or value has at most {} bytes", kLabelNameBytesMax));
    return std::string(text_.substr(begin, position_ - begin));
  }

  Result<>
  add(LabelSelector& selector, std::string key, Operator op, std::set<std::string> values) {
    selector.requirements_.push_back({std::move(key), op, std::move(values)});
    return {};
  }

  base::Error error(std::string_view expected) const {
    return base::invalid_argument(
        "INVALID_LABEL_SELECTOR",
        fmt::format("{}, at position {} of '{}'", expected, position_ + 1, text_));
  }

  bool at_end() const { return position_ == text_.size(); }
  char peek() const { return text_[position_]; }
  bool take(char c) {
    if (at_end() || peek() != c) return false;
    ++position_;
    return true;
  }
  void skip_space() {
    while (!at_end() && (peek() == ' ' || peek() == '\t')) ++position_;
  }

  std::string_view text_;
  size_t position_ = 0;
};

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  if (text.size() > kSelectorBytesMax)
    return base::invalid_argument(
        "INVALID_LABEL_SELECTOR",
        fmt::format("a label selector has at most {} bytes", kSelectorBytesMax));
  return LabelSelectorParser(text).parse();
}

bool LabelSelector::matches(const Labels& labels) const {
  return std::all_of(requirements_.begin(), requirements_.end(), [&](const Requirement& wanted) {
    auto found = labels.find(wanted.key);
    const bool there = found != labels.end();
    switch (wanted.op) {
    case Operator::kIn:
      return there && wanted.values.contains(found->second);
    case Operator::kNotIn:
      return !there || !wanted.values.contains(found->second);
    case Operator::kExists:
      return there;
    case Operator::kNotExists:
      return !there;
    }
    __builtin_unreachable();
  });
}

} // namespace controlplane::model
