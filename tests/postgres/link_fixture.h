// Both ends of the control stream for tests: a replica with a real PostgreSQL behind it, and an
// agent that does no more than hold what it is given.
#pragma once

#include "agent/identity/channel.h"
#include "agent/identity/identity.h"
#include "agent/link/link.h"
#include "base/hex.h"
#include "controlplane/edge/agent_control.h"
#include "controlplane/edge/enrollment_methods.h"
#include "controlplane/edge/grpc_server.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/change_feed.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/sessions.h"
#include "tests/postgres/postgres_fixture.h"
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <thread>

namespace link_fixture {

using namespace std::chrono_literals;
using namespace controlplane;
using base::Result;
using postgres_fixture::ScopedDatabase;
using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <class Predicate> bool eventually(Predicate predicate, milliseconds within = 30s) {
  auto deadline = steady_clock::now() + within;
  while (!predicate()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

class ScopedDirectory {
 public:
  ScopedDirectory() {
    char name[] = "/tmp/sonde_link_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~ScopedDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A replica: everything of sonded that agents meet.
class Replica {
 public:
  struct Options {
    std::chrono::seconds certificate_lifetime = 24h;
    push::Options push;
    uint16_t port = 0;
  };
  Replica(const ScopedDatabase& database, const std::filesystem::path& directory, Options options)
      : pool(database.pool()), feed({.database_url = database.url()}, clock),
        authority(identity::open_authority(
                      *pool,
                      {.directory = directory,
                       .agent_certificate_lifetime = options.certificate_lifetime},
                      clock)
                      .value()),
        enrollment(authority, *pool), push(*pool, feed, clock, options.push),
        authenticator(
            [](std::string_view) -> Result<model::Caller> { return base::internal("no tokens"); },
            edge::certificate_lookup(enrollment)),
        dispatch(
            authenticator, [this](const edge::Decision&) { ++calls; }, metrics),
        workers(4, 1024), control(edge::make_agent_control_service(push, enrollment, workers)) {
    edge::add_enrollment(enrollment, dispatch);
    EXPECT_TRUE(dispatch.finish().ok());
    feed.start();
    push.start();
    auto certificate = authority.issue_server({"localhost"}).value();
    edge::GrpcServerOptions grpc;
    grpc.port = options.port;
    grpc.tls = edge::TlsIdentity{certificate.chain_pem, certificate.key_pem};
    grpc.client_authorities_pem = authority.certificate_pem();
    grpc.services = {control.get()};
    server = edge::GrpcServer::start(std::move(grpc), dispatch, workers).value();
  }
  ~Replica() {
    push.stop();
    server->stop(1s);
    feed.stop();
  }

  base::SystemClock clock;
  std::unique_ptr<store::Pool> pool;
  store::ChangeFeed feed;
  identity::Authority authority;
  identity::Enrollment enrollment;
  push::Push push;
  std::atomic<int> calls{0};
  edge::CallMetrics metrics;
  edge::Authenticator authenticator;
  edge::Dispatch dispatch;
  edge::Workers workers;
  std::unique_ptr<grpc::Service> control;
  std::unique_ptr<edge::GrpcServer> server;
};

// What sonde-agent does with the link, in twenty lines: holds what it is given and says that it is
// active.
class SimpleAgent {
 public:
  SimpleAgent(std::vector<std::string> addresses, agent::link::CredentialSource credential)
      : events_(64), link_(
                         {std::move(addresses)}, std::move(credential),
                         {.hello = [this] { return hello(); },
                          .processes =
                              [] {
                                sonde::v1::Process process;
                                process.set_pid(4711);
                                process.set_executable("/app/checkout");
                                process.set_service("checkout");
                                return std::vector{process};
                              }},
                         events_, clock_, agent::link::grpc_dial()),
        thread_([this] { run(); }) {
    link_.start();
  }
  ~SimpleAgent() {
    events_.close();
    thread_.join();
  }

  agent::link::Link& link() { return link_; }
  bool connected() const { return link_.stats().connected; }
  bool holds(AssignmentKey::Type type, const std::string& name) const {
    std::lock_guard lock(mutex_);
    return held_.contains({type, name});
  }
  int deltas_with(const std::string& session_id) const {
    std::lock_guard lock(mutex_);
    auto found = given_.find(session_id);
    return found == given_.end() ? 0 : found->second;
  }
  int leases() const {
    std::lock_guard lock(mutex_);
    return leases_;
  }
  std::string last_end() const {
    std::lock_guard lock(mutex_);
    return last_end_;
  }

 private:
  sonde::v1::Hello hello() {
    std::lock_guard lock(mutex_);
    sonde::v1::Hello hello;
    hello.set_hostname("web-1");
    hello.set_version("0.1.0");
    hello.add_capabilities("http");
    (*hello.mutable_reported_labels())["zone"] = "a";
    (*hello.mutable_reported_labels())["env"] = "reported";
    for (const auto& [key, version] : held_) {
      auto* held = hello.add_held();
      held->mutable_key()->set_type(key.first);
      held->mutable_key()->set_name(key.second);
      held->set_version(version);
    }
    return hello;
  }
  void run() {
    while (auto event = events_.pop()) {
      std::lock_guard lock(mutex_);
      if (auto* gone = std::get_if<agent::link::Disconnected>(&event->what))
        last_end_ = gone->error.reason;
      if (std::holds_alternative<sonde::v1::LeaseRefresh>(event->what)) ++leases_;
      if (auto* delta = std::get_if<sonde::v1::Delta>(&event->what)) apply(*delta);
    }
  }
  void apply(const sonde::v1::Delta& delta) {
    sonde::v1::Ack ack;
    ack.set_nonce(delta.nonce());
    auto say = [&](const AssignmentKey& key, const std::string& version, auto state) {
      auto* assignment = ack.add_assignments();
      *assignment->mutable_key() = key;
      assignment->set_version(version);
      assignment->mutable_status()->set_state(state);
    };
    for (const auto& assignment : delta.assignments()) {
      held_[{assignment.key().type(), assignment.key().name()}] = assignment.version();
      if (assignment.has_session()) ++given_[assignment.key().name()];
      say(assignment.key(), assignment.version(), AssignmentStatus::ACTIVE);
    }
    for (const auto& key : delta.removed()) {
      held_.erase({key.type(), key.name()});
      say(key, "", AssignmentStatus::REMOVED);
    }
    link_.acknowledge(ack);
  }

  base::SystemClock clock_;
  mutable std::mutex mutex_;
  std::map<std::pair<AssignmentKey::Type, std::string>, std::string> held_;
  std::map<std::string, int> given_;
  int leases_ = 0;
  std::string last_end_;
  base::Queue<agent::link::Event> events_;
  agent::link::Link link_;
  std::jthread thread_;
};

} // namespace link_fixture
