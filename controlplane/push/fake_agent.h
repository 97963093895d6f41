// Of the tests only: an agent without a network, and a listener that writes down what it is told.
#pragma once

#include "controlplane/push/agent_session.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace controlplane::push {

using Versions = std::vector<std::pair<std::string, std::string>>; // of sessions: name, version

inline std::shared_ptr<const DesiredState>
desired(const Versions& sessions, base::Nanoseconds expires) {
  auto state = std::make_shared<DesiredState>();
  for (const auto& [name, version] : sessions) {
    sonde::v1::Assignment assignment;
    assignment.mutable_key()->set_type(sonde::v1::AssignmentKey::SESSION);
    assignment.mutable_key()->set_name(name);
    assignment.set_version(version);
    assignment.mutable_session()->set_session_id(name);
    EncodedAssignment encoded = encode(assignment, expires);
    state->emplace(encoded.key, std::move(encoded));
  }
  return state;
}

class RecordingListener final : public SessionListener {
 public:
  using State = sonde::v1::AssignmentStatus::State;
  void greeted(const std::shared_ptr<AgentSession>&) override {}
  void status_changed(
      const AgentSession& session, const std::string& session_id,
      sonde::v1::AssignmentStatus status) override {
    if (auto act = std::exchange(before_next, nullptr)) act();
    std::lock_guard lock(mutex_);
    last_detail = status.detail();
    histories_[session_id].push_back(status.state());
    newest_[{session.agent_id(), session_id}] = status.state();
  }
  void table_checked(
      const AgentSession& session, const std::string& table_id,
      const sonde::v1::AssignmentStatus& status) override {
    std::lock_guard lock(mutex_);
    checked_[{session.agent_id(), table_id}] = status.state();
  }
  void processes_changed(const AgentSession&, sonde::v1::ProcessReport) override {}
  void ended(const AgentSession&) override {}

  std::vector<State> history(const std::string& session_id) {
    std::lock_guard lock(mutex_);
    return histories_[session_id];
  }
  State newest(const std::string& agent_id, const std::string& session_id) {
    std::lock_guard lock(mutex_);
    return newest_[{agent_id, session_id}];
  }
  State table_checked_as(const std::string& agent_id, const std::string& table_id) {
    std::lock_guard lock(mutex_);
    return checked_[{agent_id, table_id}];
  }
  std::string last_detail;
  std::function<void()> before_next; // happens while the next status is on its way

 private:
  std::mutex mutex_;
  std::map<std::string, std::vector<State>> histories_;
  std::map<std::pair<std::string, std::string>, State> newest_;
  std::map<std::pair<std::string, std::string>, State> checked_;
};

// Both ends of one stream. The agent's side reads what was written only when told to.
class FakeAgent final : public Stream {
 public:
  FakeAgent(std::string id, SessionListener& listener, const base::Clock& clock, Counters& counters)
      : session(std::make_shared<AgentSession>(
            std::move(id), *this, listener, clock, counters, LeaseTerms{})) {}
  ~FakeAgent() override { session->closed(); }

  void write(EncodedMessage message) override {
    EXPECT_FALSE(writing) << "one write at a time";
    writing = true;
    last_pieces = message.pieces;
    std::string bytes;
    for (const auto& piece : message.pieces) bytes += *piece;
    sonde::v1::ConnectResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    if (response.has_delta()) {
      EXPECT_EQ(response.delta().nonce(), last_nonce + 1);
      last_nonce = response.delta().nonce();
    }
    sent.push_back(std::move(response));
  }
  void finish(const base::Error& status) override { finished = status; }

  void say_hello(const Versions& held = {}) {
    sonde::v1::ConnectRequest request;
    request.mutable_hello()->set_hostname("host");
    for (const auto& [name, version] : held) {
      auto* each = request.mutable_hello()->add_held();
      each->mutable_key()->set_type(sonde::v1::AssignmentKey::SESSION);
      each->mutable_key()->set_name(name);
      each->set_version(version);
    }
    session->received(request.SerializeAsString());
  }
  void
  ack(uint64_t nonce, const std::string& name, const std::string& version,
      const sonde::v1::AssignmentStatus& status) {
    sonde::v1::ConnectRequest request;
    request.mutable_ack()->set_nonce(nonce);
    auto* each = request.mutable_ack()->add_assignments();
    each->mutable_key()->set_type(sonde::v1::AssignmentKey::SESSION);
    each->mutable_key()->set_name(name);
    each->set_version(version);
    *each->mutable_status() = status;
    session->received(request.SerializeAsString());
  }
  void
  ack(uint64_t nonce, const std::string& name, const std::string& version,
      sonde::v1::AssignmentStatus::State state) {
    sonde::v1::AssignmentStatus status;
    status.set_state(state);
    ack(nonce, name, version, status);
  }
  void finish_write() {
    writing = false;
    session->written(true);
  }
  void finish_all_writes() {
    while (writing) finish_write();
  }

  std::deque<sonde::v1::ConnectResponse> sent;
  std::vector<std::shared_ptr<const std::string>> last_pieces;
  std::optional<base::Error> finished;
  uint64_t last_nonce = 0;
  bool writing = false;
  std::shared_ptr<AgentSession> session; // last: it refers to the rest
};

} // namespace controlplane::push
