// What the agent has to say, at most once each: the newest status per assignment, the newest
// heartbeat, the processes that changed. Bounded, whatever happens while there is no stream.
#pragma once

#include "agent/link/limits.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace agent::link {

// Not thread-safe: Link locks it.
class Outbox {
 public:
  // `nonce` as this stream knows it; 0 when the delta came by an earlier one.
  void acknowledge(uint64_t nonce, const sonde::v1::Ack& ack);
  void heartbeat(const sonde::v1::AgentHealth& health);
  void report_processes(
      std::vector<sonde::v1::Process> started, const std::vector<uint32_t>& ended_pids);

  // A new stream begins: every status is said again, and changes of processes are kept from now on.
  void restart();
  // All processes, as they were since restart(): what changed meanwhile is newer.
  void report_all(std::vector<sonde::v1::Process>&& processes);
  // There is no stream: nothing waits for one but statuses.
  void pause();
  // The next message, if there is one.
  std::optional<sonde::v1::ConnectRequest> next();
  bool empty() const;
  // Process changes did not fit: the next thing to do is a new stream with a full report.
  bool overflowed() const { return overflowed_; }
  size_t statuses() const { return acks_.size(); }

 private:
  using Key = std::pair<int, std::string>;
  struct Said {
    sonde::v1::AssignmentAck ack;
    uint64_t nonce = 0;
  };
  sonde::v1::ConnectRequest next_ack();
  sonde::v1::ConnectRequest next_processes();

  bool streaming_ = false;
  bool overflowed_ = false;
  std::map<Key, Said> acks_;
  std::set<Key> waiting_acks_;
  std::optional<sonde::v1::Heartbeat> heartbeat_;
  uint64_t heartbeats_ = 0;
  bool full_report_ = false;
  std::map<uint32_t, sonde::v1::Process> started_;
  std::set<uint32_t> ended_;
};

} // namespace agent::link
