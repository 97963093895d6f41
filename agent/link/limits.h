// Limits of agent/link.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::link {

// Largest message taken from the control plane. A delta carries every session, rule and table of
// one host.
inline constexpr int kReceiveBytesMax = 4 << 20;
// Processes in one ProcessReport message; longer reports travel as several.
inline constexpr int kProcessesPerReport = 128;
// Changes of processes that wait for the stream; beyond, the stream starts anew with a full report.
inline constexpr size_t kPendingProcessesMax = 4096;
// Newest status per assignment, kept for the next stream.
inline constexpr size_t kAckedAssignmentsMax = 1024;

// Reconnecting: the first retry comes at once (within this), later ones with full jitter up to the
// cap.
inline constexpr std::chrono::milliseconds kFirstRetryWithin{200};
inline constexpr std::chrono::milliseconds kRetryCap{15'000};
// An agent that is refused by name (banned, evicted, unknown) does not hammer.
inline constexpr std::chrono::milliseconds kRefusedRetryMin{5'000};
// A connection that says nothing for so long is asked, and dropped when it does not answer.
inline constexpr std::chrono::milliseconds kKeepaliveTime{20'000};
inline constexpr std::chrono::milliseconds kKeepaliveTimeout{10'000};
// Time for one address to accept a connection.
inline constexpr std::chrono::milliseconds kConnectTimeout{5'000};
// HTTP/2 flow-control window and buffers: deltas are small, and memory matters more than
// throughput.
inline constexpr int kStreamWindowBytes = 64 * 1024;

} // namespace agent::link
