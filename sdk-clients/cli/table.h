// Tables and colours, as values: rendering is pure, printing is somebody else's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cli {

enum class Tint { kNone, kBold, kDim, kGood, kBad, kWarning };

// How to write for whoever reads: a terminal gets colours, a pipe does not.
struct Style {
  bool colour = false;
  size_t columns = 120;
  // A line that is longer than `columns` would wrap: a terminal. Tables that go elsewhere are never
  // cut.
  bool wraps = false;

  std::string paint(std::string_view text, Tint tint) const;
};

struct Cell {
  Cell(std::string with = {}, Tint in = Tint::kNone) : text(std::move(with)), tint(in) {}
  Cell(const char* with) : text(with) {}
  std::string text;
  Tint tint = Tint::kNone;
};

class Table {
 public:
  // `spare`: headers of the columns that a narrow terminal may do without, the least important
  // first.
  explicit Table(std::vector<std::string> headers, std::vector<std::string> spare = {})
      : headers_(std::move(headers)), spare_(std::move(spare)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Columns as wide as their widest cell, two spaces between, no space at the end of a line. Where
  // lines would wrap, long cells are cut with "…", then spare columns are left out, and a last line
  // names them.
  std::string render(const Style& style) const;

 private:
  std::vector<size_t> natural_widths() const;
  std::vector<std::string> leave_out(const Style& style, std::vector<size_t>& widths) const;

  std::vector<std::string> headers_;
  std::vector<std::string> spare_;
  std::vector<std::vector<Cell>> rows_;
};

} // namespace cli
