#include "agent/link/outbox.h"

#include <chrono>

namespace agent::link {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::ConnectRequest;

bool is_over(AssignmentStatus::State state) {
  return state == AssignmentStatus::REMOVED || state == AssignmentStatus::EXPIRED;
}

} // namespace

void Outbox::acknowledge(uint64_t nonce, const sonde::v1::Ack& ack) {
  for (const sonde::v1::AssignmentAck& assignment : ack.assignments()) {
    Key key{assignment.key().type(), assignment.key().name()};
    if (acks_.size() >= kAckedAssignmentsMax && !acks_.contains(key)) continue;
    acks_[key] = {assignment, nonce};
    waiting_acks_.insert(key);
  }
}

void Outbox::heartbeat(const sonde::v1::AgentHealth& health) {
  if (!streaming_) return;
  heartbeat_.emplace();
  heartbeat_->set_sequence(++heartbeats_);
  *heartbeat_->mutable_health() = health;
  auto now = std::chrono::system_clock::now().time_since_epoch();
  auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  heartbeat_->mutable_agent_time()->set_seconds(nanos / 1'000'000'000);
  heartbeat_->mutable_agent_time()->set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}

void Outbox::report_processes(
    std::vector<sonde::v1::Process> started, const std::vector<uint32_t>& ended_pids) {
  if (!streaming_) return;
  for (uint32_t pid : ended_pids) {
    started_.erase(pid);
    ended_.insert(pid);
  }
  for (sonde::v1::Process& process : started) started_[process.pid()] = std::move(process);
  overflowed_ = overflowed_ || started_.size() + ended_.size() > kPendingProcessesMax;
}

void Outbox::restart() {
  streaming_ = true;
  overflowed_ = false;
  heartbeat_.reset();
  started_.clear();
  ended_.clear();
  for (auto& [key, said] : acks_) {
    said.nonce = 0;
    waiting_acks_.insert(key);
  }
}

void Outbox::report_all(std::vector<sonde::v1::Process>&& processes) {
  full_report_ = true;
  for (sonde::v1::Process& process : processes) {
    if (started_.size() >= kPendingProcessesMax) break;
    uint32_t pid = process.pid();
    if (!ended_.contains(pid)) started_.try_emplace(pid, std::move(process));
  }
}

void Outbox::pause() {
  streaming_ = false;
  full_report_ = false;
  heartbeat_.reset();
  started_.clear();
  ended_.clear();
  for (auto& [key, said] : acks_) said.nonce = 0;
}

bool Outbox::empty() const {
  return !streaming_ || (waiting_acks_.empty() && !heartbeat_ && !full_report_ &&
                         started_.empty() && ended_.empty());
}

std::optional<ConnectRequest> Outbox::next() {
  if (empty()) return std::nullopt;
  if (!waiting_acks_.empty()) return next_ack();
  if (full_report_ || !started_.empty() || !ended_.empty()) return next_processes();
  ConnectRequest message;
  *message.mutable_heartbeat() = *std::move(heartbeat_);
  heartbeat_.reset();
  return message;
}

// All that wait and answer the same delta. What is over is said once.
ConnectRequest Outbox::next_ack() {
  ConnectRequest message;
  sonde::v1::Ack& ack = *message.mutable_ack();
  ack.set_nonce(acks_[*waiting_acks_.begin()].nonce);
  for (auto key = waiting_acks_.begin();
       key != waiting_acks_.end() && ack.assignments_size() < kAcksPerMessage;) {
    auto said = acks_.find(*key);
    if (said->second.nonce != ack.nonce()) {
      ++key;
      continue;
    }
    *ack.add_assignments() = said->second.ack;
    if (is_over(said->second.ack.status().state())) acks_.erase(said);
    key = waiting_acks_.erase(key);
  }
  return message;
}

ConnectRequest Outbox::next_processes() {
  ConnectRequest message;
  sonde::v1::ProcessReport& report = *message.mutable_processes();
  report.set_full(std::exchange(full_report_, false));
  for (uint32_t pid : ended_) report.add_ended_pids(pid);
  ended_.clear();
  while (!started_.empty() && report.started_size() < kProcessesPerReport)
    *report.add_started() = std::move(started_.extract(started_.begin()).mapped());
  return message;
}

} // namespace agent::link
