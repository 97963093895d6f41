// What callers may ask for, by name.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace controlplane::model {

inline constexpr std::chrono::seconds kSessionTtlDefault{300};
inline constexpr std::chrono::seconds kSessionTtlMax{3600};
inline constexpr std::chrono::seconds kSessionTtlMin{1};
inline constexpr size_t kDisplayNameBytesMax = 256;
// A session's probes, each of them on every matching process.
inline constexpr int kProbesMax = 16;
inline constexpr int kSelectorPidsMax = 1000;
inline constexpr int kSelectorAgentsMax = 10'000;
// Of one pattern or label selector.
inline constexpr size_t kSelectorBytesMax = 1024;
inline constexpr int kLabelRequirementsMax = 32;
inline constexpr size_t kLabelNameBytesMax = 256;
inline constexpr int kExportDestinationsMax = 8;
inline constexpr int kSpansPerSecondMax = 1'000'000;
inline constexpr int64_t kEventsPerSecondMax = 100'000'000;
// AIP-155: a UUID; anything of that size is taken.
inline constexpr size_t kRequestIdBytesMax = 64;
inline constexpr int kOffsetFieldsMax = 4096;
inline constexpr size_t kOffsetNameBytesMax = 512;
// Go structs that we read are a few kilobytes at most.
inline constexpr uint32_t kOffsetBytesMax = 1 << 20;

inline constexpr size_t kFilterBytesMax = 4096;
inline constexpr size_t kFilterConditionsMax = 16;
// AIP-158: a larger page is cut down, not refused.
inline constexpr int kPageSizeDefault = 50;
inline constexpr int kPageSizeMax = 1000;

} // namespace controlplane::model
