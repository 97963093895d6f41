// Named limits of agent/telemetry.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace agent::telemetry {

// Attribute values are cut to this many bytes (a head is captured up to 8 KiB).
constexpr size_t kAttributeBytesMax = 4096;
// error text of a panic and the like, as the status message.
constexpr size_t kStatusMessageBytesMax = 256;
// A tracestate of W3C Trace Context: what does not fit is dropped from its end, whole entries at a
// time.
constexpr size_t kTracestateBytesMax = 512;

// A batch leaves when it holds this many bytes, or when its oldest span is this old. The first one
// of a quiet session leaves with the next flush, so that a person who waits sees it at once.
constexpr size_t kBatchBytes = 128 * 1024;
constexpr std::chrono::milliseconds kBatchAge{100};
// Losses travel with batches; alone they wait this long.
constexpr std::chrono::milliseconds kLossAge{1000};

// Resources and open batches are kept per process: the table of processes is bounded by
// agent/process, and this is the most this folder keeps of sessions.
constexpr size_t kSessionsMax = 64;
// Remembered sampling decisions of rate limits, per session and process: enough roots in flight
// that the children of one meet the same decision.
constexpr size_t kRateDecisions = 1024;

} // namespace agent::telemetry
