// The conversation with the control plane: one Connect stream, reconnected for ever, and the
// channel under it.
//
// Down: deltas and lease refreshes reach the app through a bounded queue. Up: acks, heartbeats and
// process reports, one write in flight, the newest replacing what has not left yet.
#pragma once

#include "agent/identity/identity.h"
#include "agent/link/transport.h"
#include "base/clock.h"
#include "base/queue.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace agent::link {

// The stream is up: a Hello was sent. Nothing that the agent holds changed.
struct Connected {
  std::string address;
};
// The stream ended. Assignments stay until their leases end, unless the agent was dismissed; that
// is also told when it comes as the answer to an attempt to connect.
struct Disconnected {
  base::Error error;
  // Banned or evicted: the agent is to hold nothing any more.
  bool dismissed() const;
};
// What reaches the app, in order. Leases count from when the message arrived: `received_at` is boot
// time.
struct Event {
  std::variant<Connected, Disconnected, sonde::v1::Delta, sonde::v1::LeaseRefresh> what;
  base::Nanoseconds received_at{};
};

// Called from the link's thread at the start of each stream; they must be thread-safe and quick.
struct Sources {
  // Everything but `held`'s meaning is the app's: `held` are the assignments the agent holds now,
  // with versions.
  std::function<sonde::v1::Hello()> hello;
  // All Go processes of the host.
  std::function<std::vector<sonde::v1::Process>()> processes;
  // The mutual-TLS channel under the stream that was just opened, for uploads: a new one after a
  // renewal or when the link went to another address. May be empty.
  std::function<void(std::shared_ptr<grpc::Channel>)> channel_changed;
};

// How a Link knows its certificate.
using CredentialSource = std::function<std::shared_ptr<const identity::Credential>()>;

struct Options {
  // host:port of control planes; tried in turn, starting at a random one.
  std::vector<std::string> addresses;
};

struct Stats {
  uint64_t connects = 0; // streams that got as far as Connected
  uint64_t disconnects = 0;
  uint64_t queue_overflows =
      0; // streams given up because the app did not take events; nothing is lost by it
  bool connected = false;
  std::string_view last_error; // reason for which the last stream ended or was refused
};

// Thread-safe; one thread of its own. The queue and the sources must outlive it.
class Link {
 public:
  Link(
      Options options, const identity::Identity& identity, Sources sources,
      base::Queue<Event>& events, const base::Clock& clock);
  Link(
      Options options, CredentialSource credential, Sources sources, base::Queue<Event>& events,
      const base::Clock& clock, Dial dial);
  ~Link(); // ends the stream and the thread
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start();

  // The newest status of assignments. Kept per assignment and sent again on every new stream, until
  // the assignment is acknowledged as REMOVED. `nonce` is that of the delta, 0 when none caused it.
  void acknowledge(const sonde::v1::Ack& ack);
  // Replaces a heartbeat that has not left yet; dropped while there is no stream.
  void heartbeat(const sonde::v1::AgentHealth& health);
  // Processes that started or ended since the last report.
  void report_processes(std::vector<sonde::v1::Process> started, std::vector<uint32_t> ended_pids);
  // After a renewal: a new channel with the new certificate; the stream moves to it.
  void credential_changed();

  Stats stats() const;

 private:
  class Worker;
  std::unique_ptr<Worker> worker_;
};

} // namespace agent::link
