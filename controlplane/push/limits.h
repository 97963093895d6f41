// Limits of controlplane/push.
#pragma once

#include <chrono>
#include <cstddef>

namespace controlplane::push {

// Largest message an agent may send on its control stream.
inline constexpr size_t kAgentMessageBytesMax = 1 << 20;
inline constexpr int kHeldAssignmentsMax = 4096;
inline constexpr int kAckAssignmentsMax = 1024;
inline constexpr int kProbeStatusesMax = 1024; // per assignment
inline constexpr size_t kDetailBytesMax = 1024;
inline constexpr size_t kReportedLabelsMax = 64;
inline constexpr size_t kLabelBytesMax = 256;
inline constexpr int kCapabilitiesMax = 64;
inline constexpr size_t kProcessesPerAgentMax = 4096;
// A write that an agent has not taken after so long ends its stream: a slow reader must not cost
// memory.
inline constexpr std::chrono::seconds kWriteTimeout{15};
// The first message has to be a Hello, and soon.
inline constexpr std::chrono::seconds kHelloTimeout{10};
// A stream without any message from the agent for so long is dead, whatever TCP says. As long as a
// lease: a host whose probes have ended by then is not shown as ACTIVE.
inline constexpr std::chrono::seconds kSilenceMax{30};
// A delta that is not acknowledged for so long makes its assignments STALE.
inline constexpr std::chrono::seconds kStaleAfter{10};

inline constexpr std::chrono::seconds kLeaseDuration{30};
inline constexpr std::chrono::seconds kLeaseRefreshInterval{10};
// With a view of the store older than this a replica refreshes no lease.
inline constexpr std::chrono::seconds kViewAgeMax{5};
inline constexpr std::chrono::seconds kHeartbeatInterval{10};

// Statuses, processes and liveness are written in batches.
inline constexpr std::chrono::milliseconds kStatusFlushInterval{100};
inline constexpr std::chrono::seconds kLivenessFlushInterval{10};
// A replica says that it is alive; well below store::kReplicaTimeout.
inline constexpr std::chrono::seconds kReplicaInterval{5};
inline constexpr size_t kBatchRowsMax = 1000;

inline constexpr std::chrono::milliseconds kTransitionInterval{200};
// Without a live session in view, only every so many intervals.
inline constexpr int kIdleTransitionRounds = 10;
inline constexpr std::chrono::milliseconds kTickInterval{500};
// A stopping session waits so long for agents to confirm the removal.
inline constexpr std::chrono::seconds kStopTimeout{10};

// Ends of streams that wait for the store; those beyond are noticed when the agent is not heard of.
inline constexpr size_t kEndedConnectionsMax = 100'000;
// Agents that said Hello and are looked up in one transaction.
inline constexpr size_t kGreetingsPerBatch = 200;
// After a failed read of the store the dispatcher tries again so soon.
inline constexpr std::chrono::milliseconds kDispatchRetry{500};

// At the end agents are sent elsewhere, and have so long to go before their streams are ended. When
// each of them comes back is drawn from a spread that grows with their number: a TLS handshake
// costs about a millisecond.
inline constexpr std::chrono::milliseconds kGoAwayGrace{1000};
inline constexpr std::chrono::milliseconds kGoAwaySpreadPerAgent{1};
inline constexpr std::chrono::milliseconds kGoAwaySpreadMin{100};
inline constexpr std::chrono::milliseconds kGoAwaySpreadMax{10'000};
// Time for streams to end before the last batch is written.
inline constexpr std::chrono::milliseconds kShutdownGrace{500};

} // namespace controlplane::push
