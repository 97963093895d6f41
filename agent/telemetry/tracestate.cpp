#include "agent/telemetry/tracestate.h"

#include "agent/telemetry/limits.h"

namespace agent::telemetry {
namespace {

constexpr uint64_t k56Bits = (uint64_t{1} << 56) - 1;
constexpr int kDigits = 14;

void append_hex(uint64_t value, int digits, std::string& out) {
  for (int i = 0; i < digits; ++i)
    out.push_back("0123456789abcdef"[value >> (4 * (kDigits - 1 - i)) & 0xF]);
}

// Trailing zeros are left out: 0x80000000000000 is "8"; nothing but zeros is "0".
int significant_digits(uint64_t threshold) {
  int digits = kDigits;
  while (digits > 1 && (threshold >> (4 * (kDigits - digits)) & 0xF) == 0) --digits;
  return digits;
}

uint64_t low_56_bits(const std::array<uint8_t, 16>& trace_id) {
  uint64_t value = 0;
  for (size_t i = 9; i < 16; ++i) value = value << 8 | trace_id[i];
  return value;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

} // namespace

void make_tracestate(
    std::string_view incoming, uint64_t threshold, uint64_t randomness,
    const std::array<uint8_t, 16>& trace_id, std::string& out) {
  out.assign("ot=th:");
  append_hex(threshold & k56Bits, significant_digits(threshold & k56Bits), out);
  if ((randomness & k56Bits) != low_56_bits(trace_id)) {
    out.append(";rv:");
    append_hex(randomness & k56Bits, kDigits, out);
  }
  while (!incoming.empty()) {
    const size_t comma = incoming.find(',');
    const std::string_view entry = trim(incoming.substr(0, comma));
    incoming.remove_prefix(comma == std::string_view::npos ? incoming.size() : comma + 1);
    if (entry.empty() || entry.starts_with("ot=")) continue;
    if (out.size() + 1 + entry.size() > kTracestateBytesMax) break;
    out.push_back(',');
    out.append(entry);
  }
}

} // namespace agent::telemetry
