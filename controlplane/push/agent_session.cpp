#include "controlplane/push/agent_session.h"

#include "base/hex.h"
#include "controlplane/push/hello.h"

namespace controlplane::push {
namespace {

using base::Code;
using base::Error;
using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;

Error malformed(std::string why) {
  return base::invalid_argument("INVALID_MESSAGE", std::move(why));
}

// What an agent may say of itself; the rest is for the control plane to find.
bool is_for_agents_to_say(AssignmentStatus::State state) {
  switch (state) {
  case AssignmentStatus::APPLYING:
  case AssignmentStatus::ACTIVE:
  case AssignmentStatus::PARTIAL:
  case AssignmentStatus::REJECTED:
  case AssignmentStatus::SKIPPED:
  case AssignmentStatus::REMOVING:
  case AssignmentStatus::REMOVED:
  case AssignmentStatus::EXPIRED:
    return true;
  default:
    return false;
  }
}

AssignmentStatus status_of(AssignmentStatus::State state) {
  AssignmentStatus status;
  status.set_state(state);
  return status;
}

void set_duration(base::Nanoseconds value, google::protobuf::Duration* duration) {
  duration->set_seconds(value.count() / 1'000'000'000);
  duration->set_nanos(static_cast<int32_t>(value.count() % 1'000'000'000));
}

void cut(int max, google::protobuf::RepeatedPtrField<sonde::v1::ProbeStatus>* probes) {
  while (probes->size() > max) probes->RemoveLast();
  for (sonde::v1::ProbeStatus& probe : *probes) cut_text(kDetailBytesMax, probe.mutable_detail());
}

} // namespace

AgentSession::AgentSession(
    std::string agent_id, Stream& stream, SessionListener& listener, const base::Clock& clock,
    Counters& counters, LeaseTerms lease)
    : agent_id_(std::move(agent_id)), connection_id_(base::new_uuid()), listener_(listener),
      clock_(clock), counters_(counters), lease_(lease), stream_(&stream),
      opened_(clock.boot_time()), heard_(opened_) {}

void AgentSession::received(std::string_view bytes) {
  if (bytes.size() > kAgentMessageBytesMax)
    return refuse(malformed("a message of an agent is at most 1 MiB"));
  sonde::v1::ConnectRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return refuse(malformed("the message is not a ConnectRequest"));
  bool greeted = false;
  {
    std::lock_guard lock(mutex_);
    if (ending_) return;
    heard_ = clock_.boot_time();
    greeted = hello_.has_value();
    if (request.has_heartbeat())
      health_ = std::move(*request.mutable_heartbeat()->mutable_health());
  }
  if (!greeted && !request.has_hello())
    return refuse(malformed("the first message of a stream is a Hello"));
  if (request.has_hello()) return greet(std::move(*request.mutable_hello()));
  if (request.has_ack()) return acknowledge(request.ack());
  if (request.has_processes()) {
    if (static_cast<size_t>(request.processes().started_size()) > kProcessesPerAgentMax)
      return refuse(malformed("a process report holds too many processes"));
    listener_.processes_changed(*this, std::move(*request.mutable_processes()));
  }
}

void AgentSession::greet(sonde::v1::Hello hello) {
  if (auto checked = check_hello(hello); !checked) return refuse(checked.error());
  {
    std::lock_guard lock(mutex_);
    if (hello_) {
      end_locked(malformed("a stream has one Hello"));
      return;
    }
    for (const sonde::v1::HeldAssignment& held : hello.held())
      slots_[{held.key().type(), held.key().name()}].version = held.version();
    hello.clear_held();
    hello_ = std::move(hello);
    leases_due_ = true; // what it holds already has been running down
    pump_locked();
  }
  listener_.greeted(shared_from_this());
  report();
}

void AgentSession::acknowledge(const sonde::v1::Ack& ack) {
  if (ack.assignments_size() > kAckAssignmentsMax)
    return refuse(malformed("an Ack names too many assignments"));
  {
    std::lock_guard lock(mutex_);
    if (ack.nonce() > last_nonce_)
      return end_locked(malformed("an Ack answers a delta that was never sent"));
    for (const sonde::v1::AssignmentAck& assignment : ack.assignments())
      acknowledge_locked(ack.nonce(), assignment);
    pump_locked();
  }
  report();
}

// An agent speaks for what it was given, in the version it was given last; what it says of an older
// one must not take the status back.
void AgentSession::acknowledge_locked(uint64_t nonce, const sonde::v1::AssignmentAck& ack) {
  ++counters_.acks;
  AssignmentStatus::State state = ack.status().state();
  auto found = slots_.find({ack.key().type(), ack.key().name()});
  bool current = found != slots_.end() && is_for_agents_to_say(state);
  // What answers an older delta than the one that sent or removed this crossed it on the way.
  if (current && nonce != 0) current = nonce >= found->second.nonce;
  if (current) {
    bool leaving = state == AssignmentStatus::REMOVED || state == AssignmentStatus::REMOVING ||
                   state == AssignmentStatus::EXPIRED;
    current = found->second.removing ? leaving : ack.version() == found->second.version;
  }
  if (!current) {
    ++counters_.acks_refused;
    return;
  }
  Slot& slot = found->second;
  slot.state = state;
  bool gone = state == AssignmentStatus::REMOVED || state == AssignmentStatus::EXPIRED;
  if (gone && !slot.removing) {
    slot.version.clear();
    slot.expired = true;
  }
  if (ack.key().type() == AssignmentKey::SESSION) {
    AssignmentStatus status = ack.status();
    cut_text(kDetailBytesMax, status.mutable_detail());
    cut(kProbeStatusesMax, status.mutable_probes());
    if (gone && slot.removing) status.set_state(AssignmentStatus::REMOVED);
    reports_.push_back({ack.key().name(), std::move(status)});
  }
  if (ack.key().type() == AssignmentKey::OFFSET_TABLE && !gone) {
    AssignmentStatus status = ack.status();
    cut_text(kDetailBytesMax, status.mutable_detail());
    reports_.push_back({ack.key().name(), std::move(status), AssignmentKey::OFFSET_TABLE});
  }
  if (gone && slot.removing) slots_.erase(found);
}

void AgentSession::set_desired(std::shared_ptr<const DesiredState> desired) {
  {
    std::lock_guard lock(mutex_);
    desired_ = std::move(desired);
    pump_locked();
  }
  report();
}

void AgentSession::refresh_leases() {
  {
    std::lock_guard lock(mutex_);
    leases_due_ = true;
    for (auto& [key, slot] : slots_) slot.expired = false;
    pump_locked();
  }
  report();
}

void AgentSession::send_away(base::Nanoseconds retry_after) {
  std::lock_guard lock(mutex_);
  retry_after_ = retry_after;
  pump_locked(); // reports nothing: it is the last message
}

void AgentSession::pump_locked() {
  if (!stream_ || ending_ || writing_ || sent_away_) return;
  if (retry_after_) return write_go_away_locked();
  if (!hello_ || !desired_) return;
  if (write_delta_locked()) return;
  if (leases_due_) write_leases_locked();
}

bool AgentSession::write_delta_locked() {
  sonde::v1::Delta delta;
  std::vector<std::shared_ptr<const std::string>> fields;
  base::Nanoseconds now = clock_.boot_time();
  for (const auto& [key, assignment] : *desired_) {
    Slot& slot = slots_[key];
    if (!slot.removing && (slot.expired || slot.version == assignment.version)) continue;
    slot = {
        .version = assignment.version,
        .state = AssignmentStatus::SENT,
        .nonce = last_nonce_ + 1,
        .sent_at = now};
    fields.push_back(assignment.field);
    if (key.type != AssignmentKey::SESSION) continue;
    add_lease_locked(assignment, delta.add_leases());
    reports_.push_back({key.name, status_of(AssignmentStatus::SENT)});
  }
  // What the agent let go by itself is not there to be removed.
  std::erase_if(slots_, [&](const auto& entry) {
    return entry.second.expired && !desired_->contains(entry.first);
  });
  for (auto& [key, slot] : slots_) {
    if (slot.removing || desired_->contains(key)) continue;
    slot.removing = true;
    slot.state = AssignmentStatus::REMOVING;
    slot.nonce = last_nonce_ + 1;
    slot.sent_at = now;
    AssignmentKey* removed = delta.add_removed();
    removed->set_type(key.type);
    removed->set_name(key.name);
    if (key.type == AssignmentKey::SESSION)
      reports_.push_back({key.name, status_of(AssignmentStatus::REMOVING)});
  }
  if (fields.empty() && delta.removed_size() == 0) return false;
  delta.set_nonce(++last_nonce_);
  ++counters_.deltas_sent;
  write_locked(encode_delta(delta, fields));
  return true;
}

void AgentSession::write_leases_locked() {
  leases_due_ = false;
  sonde::v1::ConnectResponse message;
  for (const auto& [key, slot] : slots_) {
    if (key.type != AssignmentKey::SESSION || slot.removing || slot.expired) continue;
    auto assignment = desired_->find(key);
    if (assignment != desired_->end())
      add_lease_locked(assignment->second, message.mutable_lease_refresh()->add_leases());
  }
  if (!message.has_lease_refresh()) return;
  ++counters_.leases_sent;
  write_locked(encode_message(message));
}

void AgentSession::write_go_away_locked() {
  sent_away_ = true;
  sonde::v1::ConnectResponse message;
  set_duration(*retry_after_, message.mutable_go_away()->mutable_retry_after());
  write_locked(encode_message(message));
}

// Never beyond the end of the session: then the probes go by themselves, whatever becomes of this
// stream.
void AgentSession::add_lease_locked(
    const EncodedAssignment& assignment, sonde::v1::SessionLease* lease) const {
  base::Nanoseconds left = assignment.expires - clock_.wall_time();
  base::Nanoseconds duration = std::min<base::Nanoseconds>(lease_.duration, left);
  lease->set_session_id(assignment.key.name);
  set_duration(std::max(duration, base::Nanoseconds(0)), lease->mutable_duration());
}

void AgentSession::write_locked(EncodedMessage message) {
  writing_ = true;
  write_started_ = clock_.boot_time();
  stream_->write(std::move(message));
}

void AgentSession::written(bool ok) {
  {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok) pump_locked();
  }
  report();
}

void AgentSession::check_time() {
  {
    std::lock_guard lock(mutex_);
    if (!stream_ || ending_) return;
    base::Nanoseconds now = clock_.boot_time();
    if (writing_ && now - write_started_ > kWriteTimeout)
      return end_locked(
          {Code::kResourceExhausted, "SLOW_READER", "the agent does not read what it is sent", {}});
    if (!hello_ && now - opened_ > kHelloTimeout)
      return end_locked(
          {Code::kDeadlineExceeded, "HELLO_TIMEOUT", "the agent did not say Hello in time", {}});
    if (now - heard_ > kSilenceMax)
      return end_locked(
          {Code::kDeadlineExceeded, "AGENT_SILENT", "nothing was heard of the agent for long", {}});
    for (auto& [key, slot] : slots_) {
      if (slot.state != AssignmentStatus::SENT || now - slot.sent_at <= kStaleAfter) continue;
      slot.state = AssignmentStatus::STALE;
      if (key.type == AssignmentKey::SESSION)
        reports_.push_back({key.name, status_of(AssignmentStatus::STALE)});
    }
  }
  report();
}

void AgentSession::end(const Error& why) {
  std::lock_guard lock(mutex_);
  end_locked(why);
}

void AgentSession::refuse(const Error& why) { end(why); }

void AgentSession::end_locked(const Error& why) {
  if (!stream_ || ending_) return;
  ending_ = true;
  ++counters_.streams_ended;
  stream_->finish(why);
}

void AgentSession::closed() {
  {
    std::lock_guard lock(mutex_);
    if (!stream_) return;
    stream_ = nullptr;
    desired_.reset();
    slots_.clear();
  }
  listener_.ended(*this);
}

// One thread at a time, in the order in which it happened: an answer may come on another thread
// before this one has told that the question was sent.
void AgentSession::report() {
  std::unique_lock lock(mutex_);
  if (reporting_) return; // that thread takes these along
  reporting_ = true;
  while (!reports_.empty()) {
    std::vector<Report> reports = std::exchange(reports_, {});
    lock.unlock();
    for (Report& each : reports) {
      if (each.type == AssignmentKey::OFFSET_TABLE)
        listener_.table_checked(*this, each.name, each.status);
      else
        listener_.status_changed(*this, each.name, std::move(each.status));
    }
    lock.lock();
  }
  reporting_ = false;
}

std::optional<sonde::v1::Hello> AgentSession::hello() const {
  std::lock_guard lock(mutex_);
  return hello_;
}

bool AgentSession::is_closed() const {
  std::lock_guard lock(mutex_);
  return stream_ == nullptr;
}

base::Nanoseconds AgentSession::last_heard() const {
  std::lock_guard lock(mutex_);
  return heard_;
}

std::optional<sonde::v1::AgentHealth> AgentSession::take_health() {
  std::lock_guard lock(mutex_);
  return std::exchange(health_, std::nullopt);
}

size_t AgentSession::assignments_tracked() const {
  std::lock_guard lock(mutex_);
  return slots_.size();
}

} // namespace controlplane::push
