#include "sdk-clients/cli/table.h"

#include "sdk-clients/cli/text.h"

#include <algorithm>

namespace cli {
namespace {

// A cell holds one line and cannot steer the terminal, whatever a traced program put into it.
constexpr size_t kCellColumnsMax = 120;

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
    const auto shown = fit(row[i].text, kCellColumnsMax);
    if (!shown.empty()) {
      text.append(pending_spaces, ' ');
      pending_spaces = 0;
      text += style.paint(shown, row[i].tint);
    }
    pending_spaces += widths[i] - columns_of(shown) + 2;
  }
  text += '\n';
}

} // namespace

std::string Style::paint(std::string_view text, Tint tint) const {
  if (!colour || tint == Tint::kNone) return std::string(text);
  return std::string(escape_of(tint)) + std::string(text) + "\x1b[0m";
}

std::string Table::render(const Style& style) const {
  std::vector<size_t> widths;
  std::vector<Cell> header;
  for (const auto& name : headers_) {
    widths.push_back(columns_of(name));
    header.emplace_back(name, Tint::kBold);
  }
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], std::min(columns_of(row[i].text), kCellColumnsMax));
  std::string text;
  append_row(text, header, widths, style);
  for (const auto& row : rows_) append_row(text, row, widths, style);
  return text;
}

} // namespace cli
