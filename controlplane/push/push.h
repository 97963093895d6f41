// Desired state on its way to the agents connected to this replica, and what they answer on its way
// to the store.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "controlplane/push/limits.h"
#include "controlplane/push/live_streams.h"
#include "controlplane/push/stream.h"
#include "controlplane/store/pool.h"

#include <memory>
#include <string>

namespace sonde::v1 {
class ConnectRequest;
}

namespace controlplane::store {
class ChangeFeed;
}

namespace controlplane::push {

class AgentSession;

struct Options {
  std::chrono::seconds lease_duration = kLeaseDuration;
  std::chrono::seconds lease_refresh_interval = kLeaseRefreshInterval;
  std::chrono::seconds heartbeat_interval = kHeartbeatInterval;
};

struct Stats {
  size_t agents_connected = 0;
  size_t streams = 0; // control and results
  uint64_t deltas_sent = 0;
  uint64_t leases_sent = 0;
  uint64_t acks = 0;
  uint64_t acks_refused = 0;  // for what the agent was not given, or for an older version
  uint64_t streams_ended = 0; // by us: slow, silent, replaced, malformed
  uint64_t statuses_written = 0;
  uint64_t write_failures = 0; // batches that the store did not take; they are tried again
  std::chrono::milliseconds view_age{0};
};

// The whole of push: dispatcher, leases, status batches and session transitions, each a thread of
// its own. Thread-safe.
class Push {
 public:
  Push(store::Pool& pool, store::ChangeFeed& feed, const base::Clock& clock, Options options = {});
  ~Push(); // stop()
  Push(const Push&) = delete;
  Push& operator=(const Push&) = delete;

  void start();
  // Asks every agent to go elsewhere (GoAway), ends the streams that are left with UNAVAILABLE
  // (SHUTTING_DOWN), writes what waits, joins the threads. Streams that come meanwhile are ended
  // too.
  void stop();

  // A control stream of this agent (as its certificate says) began; one that it had before is
  // ended. The stream must stay valid until AgentSession::closed() returned.
  std::shared_ptr<AgentSession> connect(std::string agent_id, Stream& stream);
  LiveStreams& live_streams();
  Stats stats() const;

 private:
  class Parts;
  std::unique_ptr<Parts> parts_;
};

} // namespace controlplane::push
