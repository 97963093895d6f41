// Named limits of agent/export.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace agent::exporter {

// Batches that no answer has come for yet, in memory. What does not fit goes to the overflow file;
// when that is full too, the oldest that was not sent is dropped and counted as SPOOL_FULL.
constexpr size_t kSpoolBytesMax = 6 * 1024 * 1024;
// Some 400,000 spans: a control plane that is away or slow for half a minute at full speed.
constexpr uint64_t kOverflowBytesMax = 256 * 1024 * 1024;
// Batches on their way to the file; beyond, whoever submits waits for the disk.
constexpr size_t kLeavingBytesMax = 2 * 1024 * 1024;
// Sent and unanswered: enough for the longest commit of the control plane, so that the stream never
// waits.
constexpr size_t kInFlightBatchesMax = 64;
// A stream with nothing to send is closed after this: an idle agent keeps only its control stream.
constexpr std::chrono::seconds kIdleClose{30};
// Between attempts to open the stream: doubled from the first to the last, with jitter.
constexpr std::chrono::milliseconds kReconnectFirst{100};
constexpr std::chrono::milliseconds kReconnectLast{5000};
// RETRY without a time of its own, and the longest one that is believed.
constexpr std::chrono::milliseconds kRetryDefault{200};
constexpr std::chrono::milliseconds kRetryMax{30'000};
// A stream that answers nothing for so long is given up and opened anew.
constexpr std::chrono::seconds kAnswerTimeout{20};
// How long the destructor waits for the stream to end.
constexpr std::chrono::milliseconds kStreamEndWait{1000};
// Timers are not finer than this.
constexpr std::chrono::milliseconds kTimerStep{5};
// Distinct loss reasons kept per session.
constexpr size_t kLossReasonsMax = 32;

} // namespace agent::exporter
