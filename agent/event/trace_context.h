// W3C Trace Context: what a request says about the trace it belongs to.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace agent::event {

struct TraceParent {
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  uint8_t flags = 0;
};

// Strict, as the recommendation asks: anything else is as if the header were not there.
// https://www.w3.org/TR/trace-context-2/#traceparent-header
std::optional<TraceParent> parse_traceparent(std::string_view text);

} // namespace agent::event
