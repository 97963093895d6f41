#include "agent/app/assignments.h"

#include "agent/app/limits.h"

namespace agent::app {
namespace {

using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

std::string text_of(const AssignmentKey& key) {
  return std::to_string(key.type()) + "/" + key.name();
}

AssignmentStatus in_state(AssignmentStatus::State state) {
  AssignmentStatus status;
  status.set_state(state);
  return status;
}

base::Nanoseconds duration_of(const sonde::v1::SessionLease& lease) {
  if (!lease.has_duration()) return kLeaseDefault;
  return std::chrono::seconds(lease.duration().seconds()) +
         base::Nanoseconds(lease.duration().nanos());
}

} // namespace

void add_status(
    sonde::v1::Ack& ack, const AssignmentKey& key, const std::string& version,
    AssignmentStatus status) {
  auto& line = *ack.add_assignments();
  *line.mutable_key() = key;
  line.set_version(version);
  *line.mutable_status() = std::move(status);
}

sonde::v1::Ack Assignments::apply(const sonde::v1::Delta& delta, base::Nanoseconds received_at) {
  sonde::v1::Ack ack;
  ack.set_nonce(delta.nonce());
  removed_sessions_.Clear();
  removed_sessions_.set_nonce(delta.nonce());
  for (auto& [id, session] : desired_.sessions) session.nonce = 0;
  std::map<std::string, base::Nanoseconds> leases;
  for (const auto& lease : delta.leases())
    leases[lease.session_id()] = received_at + duration_of(lease);
  for (const auto& key : delta.removed()) remove(key, delta.nonce(), ack);
  for (const auto& assignment : delta.assignments()) {
    const auto lease = leases.find(assignment.key().name());
    const auto deadline = lease == leases.end() ? received_at + kLeaseDefault : lease->second;
    if (!take(assignment, delta.nonce(), deadline)) {
      auto status = in_state(AssignmentStatus::REJECTED);
      status.set_reason(Reason::PROBE_UNSUPPORTED);
      status.set_detail("this agent does not know assignments of this kind");
      add_status(ack, assignment.key(), assignment.version(), std::move(status));
      continue;
    }
    auto& held = held_[text_of(assignment.key())];
    *held.mutable_key() = assignment.key();
    held.set_version(assignment.version());
    if (!assignment.has_session() && !assignment.has_offset_table())
      add_status(ack, assignment.key(), assignment.version(), in_state(AssignmentStatus::ACTIVE));
  }
  return ack;
}

bool Assignments::take(
    const sonde::v1::Assignment& assignment, uint64_t nonce, base::Nanoseconds deadline) {
  const auto& name = assignment.key().name();
  switch (assignment.body_case()) {
  case sonde::v1::Assignment::kSession: {
    auto& session = desired_.sessions[name];
    session = {assignment.session(), assignment.version(), nonce, deadline};
    session.spec.set_session_id(name);
    return true;
  }
  case sonde::v1::Assignment::kSamplingRule:
    desired_.sampling_rules[name] = assignment.sampling_rule();
    return true;
  case sonde::v1::Assignment::kOffsetTable:
    desired_.offset_tables[name] = assignment.offset_table();
    return true;
  case sonde::v1::Assignment::kSettings:
    settings_ = assignment.settings();
    return true;
  case sonde::v1::Assignment::BODY_NOT_SET:
    break;
  }
  return false;
}

std::string Assignments::version_of(const AssignmentKey& key) const {
  const auto held = held_.find(text_of(key));
  return held == held_.end() ? "" : held->second.version();
}

void Assignments::remove(const AssignmentKey& key, uint64_t nonce, sonde::v1::Ack& ack) {
  held_.erase(text_of(key));
  auto* answer = &ack;
  switch (key.type()) {
  case AssignmentKey::SESSION:
    desired_.sessions.erase(key.name());
    answer = &removed_sessions_;
    break;
  case AssignmentKey::SAMPLING_RULE:
    desired_.sampling_rules.erase(key.name());
    break;
  case AssignmentKey::OFFSET_TABLE:
    desired_.offset_tables.erase(key.name());
    break;
  case AssignmentKey::SETTINGS:
    settings_.Clear();
    break;
  default:
    break;
  }
  answer->set_nonce(nonce);
  add_status(*answer, key, "", in_state(AssignmentStatus::REMOVED));
}

std::map<std::string, base::Nanoseconds> Assignments::refresh(
    const google::protobuf::RepeatedPtrField<sonde::v1::SessionLease>& leases,
    base::Nanoseconds received_at) {
  std::map<std::string, base::Nanoseconds> deadlines;
  for (const auto& lease : leases) {
    auto session = desired_.sessions.find(lease.session_id());
    if (session == desired_.sessions.end()) continue;
    session->second.deadline = received_at + duration_of(lease);
    deadlines[lease.session_id()] = session->second.deadline;
  }
  return deadlines;
}

std::vector<sonde::v1::HeldAssignment> Assignments::held(base::Nanoseconds now) const {
  std::vector<sonde::v1::HeldAssignment> held;
  for (const auto& [text, assignment] : held_) {
    const auto session = desired_.sessions.find(assignment.key().name());
    const bool is_session = assignment.key().type() == AssignmentKey::SESSION;
    if (is_session && (session == desired_.sessions.end() || session->second.deadline <= now))
      continue;
    held.push_back(assignment);
  }
  return held;
}

} // namespace agent::app
