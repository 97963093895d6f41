// Named limits of controlplane/ingest.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace controlplane::ingest {

// One UploadRequest. Agents stay far below; gRPC refuses what is larger before it is read.
inline constexpr size_t kBatchBytesMax = 4 << 20;
inline constexpr size_t kSpansPerBatchMax = 20'000;
inline constexpr size_t kResourcesPerBatchMax = 4096;
inline constexpr size_t kResourceBytesMax = 16 << 10;
// A span that is larger, or has more attributes, is dropped and counted as INVALID_SPAN.
inline constexpr size_t kSpanBytesMax = 64 << 10;
inline constexpr size_t kAttributesMax = 128;
inline constexpr size_t kNameBytesMax = 1024;
inline constexpr size_t kBootIdBytesMax = 64;
inline constexpr size_t kLossesPerBatchMax = 64;
inline constexpr size_t kLossReasonBytesMax = 64;

// What waits to be stored; beyond it agents are told to come again.
inline constexpr size_t kQueueBytesMax = 64 << 20;
inline constexpr std::chrono::milliseconds kRetryAfter{250};
// Stored in one transaction when they wait together: one fsync for all.
inline constexpr size_t kGroupBatchesMax = 64;
inline constexpr size_t kGroupBytesMax = 8 << 20;
// Transactions at a time.
inline constexpr size_t kWriters = 2;
// How long the answer to "may this agent report for this session" is believed.
inline constexpr std::chrono::seconds kRouteAge{5};
inline constexpr size_t kRoutesMax = 10'000;

// Days of results are prepared and dropped this often, and again so soon after a failure.
inline constexpr std::chrono::seconds kMaintenanceInterval{3600};
inline constexpr std::chrono::seconds kMaintenanceRetry{1};

} // namespace controlplane::ingest
