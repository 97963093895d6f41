// What a session would cost, as far as it can be said before it runs. Pure.
#pragma once

#include "sonde/v1/session.pb.h"

namespace controlplane::model {

// What the probes this release knows cost, microseconds of CPU, as measured and rounded up
// (docs/benchmarks.md).
inline constexpr double kServerRequestMicros = 2;
inline constexpr double kClientRequestMicros = 3;
inline constexpr double kAgentSpanMicros = 3;
// What agents hold a session to that names no budget: agent/probe/limits.h.
inline constexpr double kCpuFractionDefault = 0.10;
inline constexpr int64_t kEventsPerSecondDefault = 100'000;

sonde::v1::CostEstimate estimate_cost(const sonde::v1::Session& session);

} // namespace controlplane::model
