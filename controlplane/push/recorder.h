// What agents say, written to the store in batches: statuses and processes within a tenth of a
// second, liveness every few seconds. What the store does not take now is kept, the newest per
// assignment and agent, and tried again.
#pragma once

#include "base/clock.h"
#include "base/seldom.h"
#include "controlplane/push/fleet.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/pool.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace controlplane::push {

// Thread-safe; one thread of its own.
class Recorder {
 public:
  Recorder(store::Pool& pool, const Fleet& fleet, const base::Clock& clock, std::string replica_id);
  ~Recorder(); // stop()
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void start();
  // Writes what waits, once, and says that this replica is gone.
  void stop();

  void status_changed(
      const AgentSession& session, const std::string& session_id,
      sonde::v1::AssignmentStatus status);
  void table_checked(
      const AgentSession& session, const std::string& table_id,
      const sonde::v1::AssignmentStatus& status);
  void processes_changed(const AgentSession& session, sonde::v1::ProcessReport report);
  void ended(const AgentSession& session);

  uint64_t statuses_written() const { return statuses_written_; }
  uint64_t failures() const { return failures_; }
  // Writes what waits now; for tests and stop().
  void flush();

 private:
  struct PendingProcesses {
    std::string hostname;
    bool full = false;
    std::map<uint32_t, sonde::v1::Process> started; // by pid
    std::set<uint32_t> ended;
  };
  struct Pending {
    std::map<std::pair<std::string, std::string>, sonde::v1::AssignmentStatus> statuses;
    // Whether an agent (first) confirms an offset table (second).
    std::map<std::pair<std::string, std::string>, bool> tables;
    std::map<std::string, PendingProcesses> processes; // by agent
    std::vector<std::string> ended_connections;
    bool empty() const {
      return statuses.empty() && tables.empty() && processes.empty() && ended_connections.empty();
    }
  };

  void run();
  bool write(const Pending& pending);
  void keep(Pending unwritten);
  void write_liveness();
  static void merge(PendingProcesses& into, sonde::v1::ProcessReport report);

  store::Pool& pool_;
  const Fleet& fleet_;
  const base::Clock& clock_;
  const std::string replica_id_;
  std::atomic<uint64_t> statuses_written_{0};
  std::atomic<uint64_t> failures_{0};
  base::Seldom trouble_; // what is kept for later is said so now and then
  std::mutex mutex_;
  std::condition_variable changed_;
  Pending pending_;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::push
