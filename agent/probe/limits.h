// Limits of the probe thread.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::probe {

// A link of the multi kind takes 30 to 80 ms to close, nearly all of it waiting: so many are closed
// at a time.
inline constexpr size_t kClosingThreadsMax = 32;
// Past its lease a session is detached within this.
inline constexpr std::chrono::milliseconds kTick{250};
// Usage travels with a status this often, when nothing else of it changes.
inline constexpr std::chrono::seconds kUsageInterval{2};

// Budget of a session that names none: a tenth of a CPU, and what one consumer thread keeps up
// with.
inline constexpr double kCpuFractionDefault = 0.10;
inline constexpr double kEventsPerSecondDefault = 100'000;
// Costs are judged over windows of this length.
inline constexpr std::chrono::seconds kBudgetWindow{1};
// Over its budget a session is cut to a bit less than what would fit, by at most this factor at a
// time.
inline constexpr double kSampleDownMargin = 0.8;
inline constexpr double kSampleDownMax = 0.25;
// Below this share it is detached: the rest of its cost is not what it keeps but that it looks.
inline constexpr double kShareMin = 1.0 / 128;
inline constexpr std::chrono::seconds kBudgetRetry{30};
inline constexpr double kRetryShare = 1.0 / 16;
// So many windows below this part of its budget give it twice the share again.
inline constexpr int kCalmWindows = 5;
inline constexpr double kCalmBelow = 0.4;

// What the kernel spends around a program that the program cannot see, per hit
// (docs/benchmarks.md): the trap of an emulated uprobe, and the entry of a tracepoint.
inline constexpr std::chrono::nanoseconds kUprobeTrap{650};
inline constexpr std::chrono::nanoseconds kTracepointEntry{50};
// The time of a program that has not measured itself yet.
inline constexpr std::chrono::nanoseconds kProgramTimeGuess{400};

} // namespace agent::probe
