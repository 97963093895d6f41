// Named limits of controlplane/stitch.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace controlplane::stitch {

// A trace is answered in one message; beyond this the newest spans are left out and the answer says
// so.
constexpr size_t kTraceSpansMax = 10'000;

// Events that wait for one tail reader. A reader that is further behind is told how many it missed.
constexpr size_t kTailBacklogMax = 4'096;
// Spans read from the store at a time.
constexpr int kTailPage = 512;
// Readers of this replica, over all sessions: each costs a small query per batch that arrives.
constexpr size_t kTailReadersMax = 256;
// How soon spans that another replica stored are seen: this replica's own wake a reader at once.
constexpr std::chrono::milliseconds kTailPoll{250};

} // namespace controlplane::stitch
