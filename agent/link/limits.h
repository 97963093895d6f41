// Limits of agent/link.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::link {

// Processes in one ProcessReport message; longer reports travel as several.
inline constexpr int kProcessesPerReport = 128;
// Changes of processes that wait for the stream; beyond, everything is reported anew.
inline constexpr size_t kPendingProcessesMax = 4096;
// Newest status per assignment, kept for the next stream.
inline constexpr size_t kAckedAssignmentsMax = 1024;
inline constexpr int kAcksPerMessage = 256;

// Reconnecting, with full jitter: the first retry within this, some more below a second, while a
// control plane that was restarted comes back; later ones below a bound that doubles up to the cap.
inline constexpr std::chrono::milliseconds kFirstRetryWithin{200};
inline constexpr int kQuickRetries = 10;
inline constexpr std::chrono::milliseconds kQuickRetryWithin{1'000};
inline constexpr std::chrono::milliseconds kRetryCap{15'000};
// An agent that is refused by name (banned, evicted, unknown) does not hammer.
inline constexpr std::chrono::milliseconds kRefusedRetryMin{5'000};
// A stream that lasted so long was a good one: the next retry is quick again.
inline constexpr std::chrono::seconds kGoodStream{10};
// Time for one address to accept the stream.
inline constexpr std::chrono::milliseconds kConnectTimeout{5'000};
// A server that asks us to come back later gets at most this.
inline constexpr std::chrono::seconds kRetryAfterMax{60};

} // namespace agent::link
