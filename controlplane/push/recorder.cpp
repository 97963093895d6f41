#include "controlplane/push/recorder.h"

#include "base/log.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/offset_tables.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/sessions.h"

namespace controlplane::push {
namespace {

using base::Result;
using sonde::v1::AssignmentStatus;
using store::Transaction;

void stamp(base::Nanoseconds wall_time, AssignmentStatus& status) {
  status.mutable_update_time()->set_seconds(wall_time.count() / 1'000'000'000);
  status.mutable_update_time()->set_nanos(static_cast<int32_t>(wall_time.count() % 1'000'000'000));
}

// What the store refuses for what is in it, it will always refuse.
bool may_pass(base::Code code) {
  return code == base::Code::kUnavailable || code == base::Code::kResourceExhausted ||
         code == base::Code::kDeadlineExceeded || code == base::Code::kAborted;
}

} // namespace

Recorder::Recorder(
    store::Pool& pool, const Fleet& fleet, const base::Clock& clock, std::string replica_id)
    : pool_(pool), fleet_(fleet), clock_(clock), replica_id_(std::move(replica_id)) {}

Recorder::~Recorder() { stop(); }

void Recorder::start() {
  thread_ = std::jthread([this] { run(); });
}

void Recorder::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  changed_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  flush();
  auto removed =
      pool_.transaction([&](Transaction& tx) { return store::remove_replica(tx, replica_id_); });
  if (!removed) base::log::warn("push: {}", removed.error().message);
}

// What comes from a stream that has ended must not come after its end: checked under the lock that
// ended() takes.
void Recorder::status_changed(
    const AgentSession& session, const std::string& session_id, AssignmentStatus status) {
  stamp(clock_.wall_time(), status);
  std::lock_guard lock(mutex_);
  if (session.is_closed()) return;
  pending_.statuses[{session.agent_id(), session_id}] = std::move(status);
  changed_.notify_one();
}

void Recorder::table_checked(
    const AgentSession& session, const std::string& table_id, const AssignmentStatus& status) {
  const bool agrees = status.state() == AssignmentStatus::ACTIVE;
  if (!agrees && status.state() != AssignmentStatus::REJECTED) return;
  if (!agrees)
    base::log::warn(
        "offset table {} contradicts a program on agent {}: {}", table_id, session.agent_id(),
        status.detail());
  std::lock_guard lock(mutex_);
  if (session.is_closed()) return;
  pending_.tables[{session.agent_id(), table_id}] = agrees;
  changed_.notify_one();
}

void Recorder::processes_changed(const AgentSession& session, sonde::v1::ProcessReport report) {
  std::string hostname = session.hello() ? session.hello()->hostname() : "";
  std::lock_guard lock(mutex_);
  if (session.is_closed()) return;
  PendingProcesses& pending = pending_.processes[session.agent_id()];
  pending.hostname = std::move(hostname);
  merge(pending, std::move(report));
  changed_.notify_one();
}

void Recorder::merge(PendingProcesses& into, sonde::v1::ProcessReport report) {
  if (report.full()) {
    into.full = true;
    into.started.clear();
    into.ended.clear();
  }
  for (uint32_t pid : report.ended_pids()) {
    into.started.erase(pid);
    if (!into.full && into.ended.size() < kProcessesPerAgentMax) into.ended.insert(pid);
  }
  for (sonde::v1::Process& process : *report.mutable_started()) {
    into.ended.erase(process.pid());
    if (into.started.size() < kProcessesPerAgentMax)
      into.started[process.pid()] = std::move(process);
  }
}

void Recorder::ended(const AgentSession& session) {
  std::lock_guard lock(mutex_);
  if (pending_.ended_connections.size() < kEndedConnectionsMax)
    pending_.ended_connections.push_back(session.connection_id());
  changed_.notify_one();
}

void Recorder::run() {
  base::Nanoseconds liveness_due{};
  base::Nanoseconds replica_due{};
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait_for(lock, kReplicaInterval, [&] { return stopping_ || !pending_.empty(); });
    if (stopping_) return;
    // More is likely to come at once: one batch for all.
    changed_.wait_for(lock, kStatusFlushInterval, [&] { return stopping_; });
    lock.unlock();
    flush();
    base::Nanoseconds now = clock_.boot_time();
    if (now >= replica_due) {
      auto alive =
          pool_.transaction([&](Transaction& tx) { return store::write_replica(tx, replica_id_); });
      failures_ += !alive.ok();
      replica_due = now + kReplicaInterval;
    }
    if (now >= liveness_due) {
      write_liveness();
      liveness_due = now + kLivenessFlushInterval;
    }
    lock.lock();
  }
}

void Recorder::flush() {
  Pending pending;
  {
    std::lock_guard lock(mutex_);
    std::swap(pending, pending_);
  }
  if (!pending.empty() && !write(pending)) keep(std::move(pending));
}

// False when it should be tried again. One transaction: the end of a stream is seen after all that
// came through it.
bool Recorder::write(const Pending& pending) {
  std::vector<store::StatusUpdate> updates;
  for (const auto& [key, status] : pending.statuses)
    updates.push_back({.session_id = key.second, .agent_id = key.first, .status = status});
  auto written = pool_.transaction([&](Transaction& tx) -> Result<int64_t> {
    int64_t changed = 0;
    if (!updates.empty()) {
      changed = TRY(store::write_statuses(tx, updates));
      // Nobody is to see a host that traces and a session that only starts.
      TRY(store::advance_sessions(tx, kStopTimeout));
    }
    for (const auto& [key, agrees] : pending.tables)
      TRY(store::write_confirmation(tx, key.second, key.first, agrees));
    for (const auto& [agent_id, processes] : pending.processes) {
      sonde::v1::ProcessReport report;
      report.set_full(processes.full);
      for (const auto& [pid, process] : processes.started) *report.add_started() = process;
      for (uint32_t pid : processes.ended) report.add_ended_pids(pid);
      TRY(store::write_processes(tx, agent_id, processes.hostname, report));
    }
    if (pending.ended_connections.empty()) return changed;
    std::vector<std::string> offline = TRY(store::end_connections(tx, pending.ended_connections));
    if (!offline.empty()) TRY(store::write_state(tx, offline, AssignmentStatus::OFFLINE));
    return changed;
  });
  if (!written) {
    ++failures_;
    bool again = may_pass(written.error().code);
    if (!again || trouble_.now())
      base::log::warn(
          "push: {} statuses are {}: {}", updates.size(), again ? "kept for later" : "dropped",
          written.error().message);
    return !again;
  }
  statuses_written_ += static_cast<uint64_t>(*written);
  return true;
}

// Back behind what came meanwhile.
void Recorder::keep(Pending unwritten) {
  std::lock_guard lock(mutex_);
  pending_.statuses.merge(unwritten.statuses);
  pending_.tables.merge(unwritten.tables);
  for (auto& [agent_id, processes] : unwritten.processes) {
    auto [newer, only_old] = pending_.processes.try_emplace(agent_id, std::move(processes));
    if (only_old || newer->second.full) continue;
    PendingProcesses older = std::move(processes);
    sonde::v1::ProcessReport newest;
    for (auto& [pid, process] : newer->second.started) *newest.add_started() = process;
    for (uint32_t pid : newer->second.ended) newest.add_ended_pids(pid);
    older.hostname = newer->second.hostname;
    merge(older, std::move(newest));
    newer->second = std::move(older);
  }
  pending_.ended_connections.insert(
      pending_.ended_connections.end(), unwritten.ended_connections.begin(),
      unwritten.ended_connections.end());
}

void Recorder::write_liveness() {
  std::vector<store::AgentLiveness> batch;
  auto write_batch = [&] {
    if (batch.empty()) return;
    auto written =
        pool_.transaction([&](Transaction& tx) { return store::write_liveness(tx, batch); });
    failures_ += !written.ok();
    batch.clear();
  };
  for (const auto& session : fleet_.all()) {
    if (!session->hello()) continue;
    auto age = std::chrono::duration_cast<std::chrono::milliseconds>(
        clock_.boot_time() - session->last_heard());
    batch.push_back({session->connection_id(), age, session->take_health()});
    if (batch.size() == kBatchRowsMax) write_batch();
  }
  write_batch();
}

} // namespace controlplane::push
