#include "agent/event/trace_context.h"

#include <algorithm>
#include <span>

namespace agent::event {
namespace {

constexpr size_t kVersion00Bytes = 55;

// Upper case is not allowed.
int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool parse_hex(std::string_view text, std::span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

bool is_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

} // namespace

std::optional<TraceParent> parse_traceparent(std::string_view text) {
  if (text.size() < kVersion00Bytes) return std::nullopt;
  if (text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  uint8_t version = 0;
  TraceParent parent;
  if (!parse_hex(text.substr(0, 2), {&version, 1}) || version == 0xff) return std::nullopt;
  if (version == 0 && text.size() != kVersion00Bytes) return std::nullopt;
  if (text.size() > kVersion00Bytes && text[kVersion00Bytes] != '-') return std::nullopt;
  if (!parse_hex(text.substr(3, 32), parent.trace_id) ||
      !parse_hex(text.substr(36, 16), parent.span_id) ||
      !parse_hex(text.substr(53, 2), {&parent.flags, 1}))
    return std::nullopt;
  if (is_zero(parent.trace_id) || is_zero(parent.span_id)) return std::nullopt;
  return parent;
}

} // namespace agent::event
