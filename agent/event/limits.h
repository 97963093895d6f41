// Limits of agent/event; what is beyond them is dropped and counted in StitcherCounts.
#pragma once

#include "bpf/include/limits.h"

#include <chrono>
#include <cstddef>

namespace agent::event {

// Connections that are remembered; beyond, the one longest without a record is forgotten.
inline constexpr size_t kConnectionsMax = 16384;
// Requests of one connection that wait for their answers.
inline constexpr size_t kPipelinedRequestsMax = 128;
// A head that is longer is not understood: HEAD_TRUNCATED, and no span is invented.
inline constexpr size_t kHeadBytesMax = EXCHANGE_BYTES_MAX;
// Goroutines whose first call fell into a request of the goroutine that started them.
inline constexpr size_t kChildGoroutinesMax = 8192;
// Goroutines whose last call was redirected or broke, so that the next one is it again.
inline constexpr size_t kResendsMax = 4096;
// What is kept of texts from the wire.
inline constexpr size_t kMethodBytesMax = 32;
inline constexpr size_t kTargetBytesMax = 2048;
inline constexpr size_t kLocationBytesMax = 1024;
inline constexpr size_t kHostBytesMax = 256;
inline constexpr size_t kUserAgentBytesMax = 512;
inline constexpr size_t kTracestateBytesMax = 512;
// An end that the bytes do not prove is believed after so much silence; a failed call waits so long
// for its reason.
inline constexpr std::chrono::milliseconds kSettle{100};
// So many bytes of records taken in one go are a pile: the reader does not keep up.
inline constexpr size_t kPileBytes = RECORD_RING_BYTES / 8;
// The ring is read by a timer: a wake-up per event would cost the traced service 6 us each.
inline constexpr std::chrono::milliseconds kPoll{50};

} // namespace agent::event
