// Limits of the agent's own wiring.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::app {

// Deltas and refreshes that wait for the control thread; when it is full the link starts its stream
// anew.
inline constexpr size_t kLinkEventsMax = 256;
// Commands that wait for the probe thread: every process that starts or ends is one.
inline constexpr size_t kProbeCommandsMax = 8192;
// Commands that wait for the event thread.
inline constexpr size_t kEventCommandsMax = 1024;

// Sessions whose totals are kept after their last process.
inline constexpr size_t kSessionsRemembered = 64;

// The ring is read this often while something is traced: the delay of a span, and what a reader
// costs when nothing happens.
inline constexpr std::chrono::milliseconds kRingPoll{10};
inline constexpr std::chrono::seconds kHeartbeatDefault{10};
inline constexpr std::chrono::seconds kHeartbeatMin{1};
// A lease that came without a duration.
inline constexpr std::chrono::seconds kLeaseDefault{30};
// The services of the host come first: between them and the agent the scheduler divides a core 9
// to 1.
inline constexpr int kNiceDefault = 10;
inline constexpr int kNiceMax = 19;
// The reader of the ring stands that much further forward while records pile up, and until it has
// kept up for so long.
inline constexpr int kNiceStep = 10;
inline constexpr std::chrono::seconds kCalm{1};
// So long it runs at a stretch when a service waits for the core.
inline constexpr std::chrono::microseconds kSlice{100};
// At the end: what was captured is sent, but nobody waits for a control plane that is gone.
inline constexpr std::chrono::milliseconds kDrainTimeout{2000};

// Enrollment waits for a control plane that is not there yet: so long for one attempt, in which no
// signal is heard, and so long between two.
inline constexpr std::chrono::seconds kEnrollTimeout{5};
inline constexpr std::chrono::milliseconds kEnrollRetryFirst{200};
inline constexpr std::chrono::milliseconds kEnrollRetryMax{5000};

} // namespace agent::app
