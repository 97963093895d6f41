#include "sdk-clients/cli/table.h"

#include "sdk-clients/cli/text.h"

#include <algorithm>

namespace cli {
namespace {

// A cell holds one line and cannot steer the terminal, whatever a traced program put into it.
constexpr size_t kCellColumnsMax = 120;
constexpr size_t kGap = 2;
// A cell is cut to so much before a spare column is left out, and to so little when none is left.
constexpr size_t kCutColumns = 18;
constexpr size_t kCutColumnsMin = 9;

std::string_view escape_of(Tint tint) {
  switch (tint) {
  case Tint::kNone:
    return "";
  case Tint::kBold:
    return "\x1b[1m";
  case Tint::kDim:
    return "\x1b[2m";
  case Tint::kGood:
    return "\x1b[32m";
  case Tint::kBad:
    return "\x1b[31m";
  case Tint::kWarning:
    return "\x1b[33m";
  }
  return "";
}

void append_row(
    std::string& text, const std::vector<Cell>& row, const std::vector<size_t>& widths,
    const Style& style) {
  size_t pending_spaces = 0;
  for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
    if (widths[i] == 0) continue; // left out
    const auto shown = fit(row[i].text, widths[i]);
    if (!shown.empty()) {
      text.append(pending_spaces, ' ');
      pending_spaces = 0;
      text += style.paint(shown, row[i].tint);
    }
    pending_spaces += widths[i] - columns_of(shown) + kGap;
  }
  text += '\n';
}

size_t line_width(const std::vector<size_t>& widths) {
  size_t width = 0;
  for (const size_t each : widths)
    if (each > 0) width += each + (width > 0 ? kGap : 0);
  return width;
}

// Takes from the widest, one column at a time, but none below `least`; false when that is not
// enough.
bool cut_to_fit(std::vector<size_t>& widths, size_t columns, size_t least) {
  while (line_width(widths) > columns) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (widest == widths.end() || *widest <= least) return false;
    --*widest;
  }
  return true;
}

} // namespace

std::string Style::paint(std::string_view text, Tint tint) const {
  if (!colour || tint == Tint::kNone) return std::string(text);
  return std::string(escape_of(tint)) + std::string(text) + "\x1b[0m";
}

std::vector<size_t> Table::natural_widths() const {
  std::vector<size_t> widths;
  for (const auto& name : headers_) widths.push_back(columns_of(name));
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], std::min(columns_of(row[i].text), kCellColumnsMax));
  return widths;
}

// Answers the headers that are not shown; their width is 0.
std::vector<std::string> Table::leave_out(const Style& style, std::vector<size_t>& widths) const {
  std::vector<std::string> left_out;
  const auto natural = widths;
  for (const auto& name : spare_) {
    if (cut_to_fit(widths, style.columns, kCutColumns)) return left_out;
    for (size_t i = 0; i < widths.size(); ++i) // what was cut may have room now
      if (widths[i] > 0) widths[i] = headers_[i] == name ? 0 : natural[i];
    left_out.push_back(name.empty() ? "the bars" : name);
  }
  if (!cut_to_fit(widths, style.columns, kCutColumns))
    cut_to_fit(widths, style.columns, kCutColumnsMin);
  return left_out;
}

std::string Table::render(const Style& style) const {
  auto widths = natural_widths();
  const auto left_out = style.wraps ? leave_out(style, widths) : std::vector<std::string>();
  std::vector<Cell> header;
  for (const auto& name : headers_) header.emplace_back(name, Tint::kBold);
  std::string text;
  append_row(text, header, widths, style);
  for (const auto& row : rows_) append_row(text, row, widths, style);
  if (left_out.empty()) return text;
  std::string note = "no room for ";
  for (const auto& name : left_out) note += (&name == &left_out.front() ? "" : ", ") + name;
  return text + style.paint(fit(note, style.columns), Tint::kDim) + "\n";
}

} // namespace cli
