// Named limits of controlplane/export.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace controlplane::exporter {

// One request to a destination: receivers take 4 MiB unless they are told otherwise.
inline constexpr int64_t kRequestBytesMax = 3 << 20;
inline constexpr int kRequestBatchesMax = 256;
inline constexpr std::chrono::seconds kRequestTimeout{10};
// Rows that another replica stored are seen this late at most; this replica's own at once.
inline constexpr std::chrono::milliseconds kPoll{500};
// How often a replica without the right to export asks for it.
inline constexpr std::chrono::milliseconds kLockRetry{1000};
// Between attempts after a failure: doubled from the first to the last, with jitter.
inline constexpr std::chrono::milliseconds kBackoffFirst{200};
inline constexpr std::chrono::milliseconds kBackoffLast{15'000};
// The longest RetryInfo that is believed.
inline constexpr std::chrono::milliseconds kRetryInfoMax{60'000};
// A batch that alone is too much for the destination so many times is rejected.
inline constexpr int kExhaustedAttemptsMax = 10;
// All that may wait in the store for all destinations; then the oldest is dropped and counted.
inline constexpr int64_t kWaitingBytesMax = int64_t{1} << 30;
inline constexpr std::chrono::seconds kHousekeeping{2};
inline constexpr size_t kDestinationsMax = 32;

} // namespace controlplane::exporter
