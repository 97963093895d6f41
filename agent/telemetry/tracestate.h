// The tracestate of a span: what came in, led by OpenTelemetry's entry with the sampling threshold.
// https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace agent::telemetry {

// Writes into `out` (cleared first) "ot=th:<threshold>[;rv:<randomness>]" and then the entries of
// `incoming` except its own `ot`. rv is left out when the randomness is the last 56 bits of the
// trace id, as readers assume then. `threshold` is 0 … 2^56-1, `randomness` likewise.
void make_tracestate(
    std::string_view incoming, uint64_t threshold, uint64_t randomness,
    const std::array<uint8_t, 16>& trace_id, std::string& out);

} // namespace agent::telemetry
