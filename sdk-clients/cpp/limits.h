// Limits of the client library.
#pragma once

#include <chrono>
#include <cstddef>

namespace sonde::limits {

// Tries of one call while the server is unavailable: a replica that restarts is back within
// seconds.
inline constexpr int kCallAttempts = 4;
inline constexpr std::chrono::milliseconds kFirstRetryDelay{100};
inline constexpr std::chrono::seconds kCallTimeout{15};
// For TCP and TLS together: several round trips around the world, on a machine that is busy.
inline constexpr std::chrono::milliseconds kConnectTimeout{10'000};
// Asked for per page; the server may answer fewer.
inline constexpr int kPageSize = 500;
// A list that is longer ends with an error: narrow it with a filter.
inline constexpr size_t kListItemsMax = 100'000;
// Distinct reasons one process remembers; a server that invents more gets UNKNOWN_REASON.
inline constexpr size_t kReasonsMax = 512;
inline constexpr size_t kReasonBytesMax = 64;
// Token and certificate files; anything larger is the wrong file.
inline constexpr size_t kConfigFileBytesMax = 1 << 20;
// A trace of many thousand spans.
inline constexpr int kMessageBytesMax = 64 << 20;

} // namespace sonde::limits
