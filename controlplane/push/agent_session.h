// One agent's control stream, as the control plane sees it: what the agent was given, what it said
// about it, and a one-slot outbox. Whatever happens while a write is in flight becomes one delta
// afterwards, against the newest desired state: memory is bounded by what the agent should hold.
#pragma once

#include "base/clock.h"
#include "controlplane/push/desired_state.h"
#include "controlplane/push/limits.h"
#include "controlplane/push/stream.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace controlplane::push {

// Shared by all sessions of a replica; only grows.
struct Counters {
  std::atomic<uint64_t> deltas_sent{0};
  std::atomic<uint64_t> leases_sent{0};
  std::atomic<uint64_t> acks{0};
  std::atomic<uint64_t> acks_refused{0};
  std::atomic<uint64_t> streams_ended{0};
};

class AgentSession;

// What a session reports, statuses in the order in which they happened. Called on the threads that
// call the session, without its lock; must not block.
class SessionListener {
 public:
  virtual ~SessionListener() = default;
  // The first message has come: the session wants its desired state.
  virtual void greeted(const std::shared_ptr<AgentSession>& session) = 0;
  virtual void status_changed(
      const AgentSession& session, const std::string& session_id,
      sonde::v1::AssignmentStatus status) = 0;
  // What the agent's own binaries say of an offset table: ACTIVE the same, REJECTED otherwise,
  // SKIPPED nothing.
  virtual void table_checked(
      const AgentSession& session, const std::string& table_id,
      const sonde::v1::AssignmentStatus& status) = 0;
  virtual void processes_changed(const AgentSession& session, sonde::v1::ProcessReport report) = 0;
  // Nothing comes after it.
  virtual void ended(const AgentSession& session) = 0;
};

struct LeaseTerms {
  std::chrono::seconds duration = kLeaseDuration;
};

// Thread-safe: the stream's threads, the dispatcher and the ticker all call it. Locks nothing but
// itself.
class AgentSession : public std::enable_shared_from_this<AgentSession> {
 public:
  AgentSession(
      std::string agent_id, Stream& stream, SessionListener& listener, const base::Clock& clock,
      Counters& counters, LeaseTerms lease);

  // From the stream.
  // A message that does not parse or is too large: bytes as they came.
  void received(std::string_view bytes);
  void written(bool ok);
  // The stream is gone; nothing is called on it any more after this returns.
  void closed();

  // From the dispatcher.
  void set_desired(std::shared_ptr<const DesiredState> desired);
  // Asks the agent to leave, and to come back anywhere after `retry_after`; it is told nothing
  // more.
  void send_away(base::Nanoseconds retry_after);
  // From anywhere: ends the stream.
  void end(const base::Error& why);

  // From the ticker.
  // Sends a lease refresh for all sessions that the agent holds and should hold.
  void refresh_leases();
  // Ends streams that are slow, silent or never said Hello; marks what was not acknowledged as
  // STALE.
  void check_time();

  const std::string& agent_id() const { return agent_id_; }
  const std::string& connection_id() const { return connection_id_; } // a UUID of this stream
  std::optional<sonde::v1::Hello> hello() const;
  bool is_closed() const;
  base::Nanoseconds last_heard() const; // boot time
  // The health of the newest heartbeat since the last call.
  std::optional<sonde::v1::AgentHealth> take_health();
  // Bytes of what is kept for this agent, without what is shared with others; for tests of the
  // bound.
  size_t assignments_tracked() const;

 private:
  using State = sonde::v1::AssignmentStatus::State;
  // What the agent was last told about one assignment, and said.
  struct Slot {
    std::string version; // sent, or held since before this stream; empty: to be sent again
    State state = sonde::v1::AssignmentStatus::STATE_UNSPECIFIED;
    uint64_t nonce = 0;          // of the delta that sent or removed it; 0 for what was held
    base::Nanoseconds sent_at{}; // boot time
    bool removing = false;
    bool expired = false; // the agent let it go; it gets it again with the next leases
  };
  struct Report {
    std::string name; // of the session, or of the offset table
    sonde::v1::AssignmentStatus status;
    sonde::v1::AssignmentKey::Type type = sonde::v1::AssignmentKey::SESSION;
  };

  void greet(sonde::v1::Hello hello);
  void acknowledge(const sonde::v1::Ack& ack);
  void acknowledge_locked(uint64_t nonce, const sonde::v1::AssignmentAck& ack);
  void pump_locked();
  bool write_delta_locked();
  void write_leases_locked();
  void write_go_away_locked();
  void write_locked(EncodedMessage message);
  void add_lease_locked(const EncodedAssignment& assignment, sonde::v1::SessionLease* lease) const;
  void end_locked(const base::Error& why);
  void refuse(const base::Error& why);
  void report();

  const std::string agent_id_;
  const std::string connection_id_;
  SessionListener& listener_;
  const base::Clock& clock_;
  Counters& counters_;
  const LeaseTerms lease_;

  mutable std::mutex mutex_;
  Stream* stream_; // null once closed
  std::optional<sonde::v1::Hello> hello_;
  std::shared_ptr<const DesiredState> desired_; // null before the dispatcher spoke
  std::map<Key, Slot> slots_;
  uint64_t last_nonce_ = 0;
  bool leases_due_ = false;
  bool writing_ = false;
  std::optional<base::Nanoseconds> retry_after_; // of send_away()
  bool sent_away_ = false;
  bool ending_ = false; // finish() was called
  base::Nanoseconds write_started_{};
  base::Nanoseconds opened_{};
  base::Nanoseconds heard_{};
  std::optional<sonde::v1::AgentHealth> health_;
  std::vector<Report> reports_; // not told yet
  bool reporting_ = false;      // a thread is telling them
};

} // namespace controlplane::push
