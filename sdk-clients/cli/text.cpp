#include "sdk-clients/cli/text.h"

#include "sdk-clients/cli/limits.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace cli {

using std::chrono::nanoseconds;

namespace {

constexpr double kNanosecondsMax = 9e18;

double nanoseconds_per(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "µs") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s" || unit.empty()) return 1e9;
  if (unit == "m") return 60e9;
  if (unit == "h") return 3600e9;
  if (unit == "d") return 86400e9;
  return 0;
}

base::Error no_duration(std::string_view text) {
  return base::invalid_argument(
      "USAGE", fmt::format("\"{}\" is no duration; write it like 90s, 5m, 1h30m or 250ms", text));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

} // namespace

base::Result<nanoseconds> parse_duration(std::string_view text) {
  auto rest = text;
  double total = 0;
  while (!rest.empty()) {
    double number = 0;
    const auto parsed =
        std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
    if (parsed.ec != std::errc() || number < 0) return no_duration(text);
    rest.remove_prefix(static_cast<size_t>(parsed.ptr - rest.data()));
    const auto unit_end = std::find_if(rest.begin(), rest.end(), is_digit);
    const auto unit = rest.substr(0, static_cast<size_t>(unit_end - rest.begin()));
    rest.remove_prefix(unit.size());
    const double factor = nanoseconds_per(unit);
    if (factor == 0) return no_duration(text);
    total += number * factor;
  }
  if (text.empty() || total > kNanosecondsMax) return no_duration(text);
  return nanoseconds(std::llround(total));
}

google::protobuf::Duration to_proto(nanoseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / 1'000'000'000);
  proto.set_nanos(static_cast<int32_t>(duration.count() % 1'000'000'000));
  return proto;
}

nanoseconds from_proto(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + nanoseconds(duration.nanos());
}

nanoseconds from_proto(const google::protobuf::Timestamp& time) {
  return std::chrono::seconds(time.seconds()) + nanoseconds(time.nanos());
}

std::string format_duration(nanoseconds duration) {
  const auto ns = static_cast<double>(duration.count());
  const auto three_digits = [](double value, std::string_view unit) {
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f} {}", value, decimals, unit);
  };
  if (ns < 999.5) return fmt::format("{} ns", duration.count());
  if (ns < 999.5e3) return three_digits(ns / 1e3, "µs");
  if (ns < 999.5e6) return three_digits(ns / 1e6, "ms");
  if (ns < 59.995e9) return three_digits(ns / 1e9, "s");
  const auto seconds = std::llround(ns / 1e9);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}h{:02}m", seconds / 3600, seconds % 3600 / 60);
}

std::string format_bytes(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.95 && unit < 3; ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string format_age(const google::protobuf::Timestamp& time, nanoseconds now) {
  if (time.seconds() == 0 && time.nanos() == 0) return "-";
  const auto age = now - from_proto(time);
  const auto seconds = std::abs(std::chrono::round<std::chrono::seconds>(age).count());
  const auto text = seconds < 60      ? fmt::format("{}s", seconds)
                    : seconds < 3600  ? fmt::format("{}m", (seconds + 30) / 60)
                    : seconds < 86400 ? fmt::format("{}h", (seconds + 1800) / 3600)
                                      : fmt::format("{}d", (seconds + 43200) / 86400);
  return age.count() >= 0 ? text + " ago" : "in " + text;
}

std::string format_clock_time(const google::protobuf::Timestamp& time) {
  return fmt::format(
      "{:02}:{:02}:{:02}.{:03}", time.seconds() / 3600 % 24, time.seconds() / 60 % 60,
      time.seconds() % 60, time.nanos() / 1'000'000);
}

size_t columns_of(std::string_view utf8) {
  return static_cast<size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return !is_continuation(c) && !is_control(c); }));
}

std::string fit(std::string_view utf8, size_t columns) {
  const bool cut = columns_of(utf8) > columns;
  std::string fitted;
  size_t used = 0;
  for (const char c : utf8) {
    if (is_control(c)) continue;
    if (!is_continuation(c) && ++used > columns - (cut ? 1 : 0)) break;
    fitted += c;
  }
  return cut ? fitted + "…" : fitted;
}

std::string span_title(std::string_view name, std::string_view path, std::string_view url) {
  std::string_view where = path;
  if (where.empty()) {
    const auto scheme = url.find("://");
    where = scheme == url.npos ? url : url.substr(scheme + 3);
  }
  where = where.substr(0, where.find('?'));
  std::string title(name);
  if (where.empty() || name.find(' ') != name.npos) return title;
  return title.append(1, ' ').append(where);
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_edits = std::min(limits::kSuggestionEditsMax, word.size() / 2 + 1) + 1;
  for (const auto& candidate : known) {
    const bool begins = word.size() >= 3 && candidate.starts_with(word);
    const size_t edits = begins ? 1 : edits_between(word, candidate);
    if (edits >= best_edits) continue;
    best = candidate;
    best_edits = edits;
  }
  return best;
}

} // namespace cli
