// Agents and the control plane over real mutual TLS on loopback, with a real PostgreSQL behind it:
// what identity, push and link promise each other.
#include "agent/identity/channel.h"
#include "agent/identity/identity.h"
#include "agent/link/link.h"
#include "base/hex.h"
#include "controlplane/edge/agent_control.h"
#include "controlplane/edge/enrollment_methods.h"
#include "controlplane/edge/grpc_server.h"
#include "controlplane/identity/administration.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/change_feed.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/sessions.h"
#include "sonde/v1/enrollment_service.grpc.pb.h"
#include "tests/postgres/postgres_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace controlplane;
using base::Result;
using postgres_fixture::ScopedDatabase;
using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

template <class Predicate> bool eventually(Predicate predicate, milliseconds within = 10s) {
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
        enrollment(authority, *pool, clock), push(*pool, feed, clock, options.push),
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
  std::thread thread_;
};

class AgentLink : public testing::Test {
 protected:
  std::unique_ptr<Replica> replica(Replica::Options options = {}) {
    return std::make_unique<Replica>(database, directory.path(), options);
  }
  static std::string token(Replica& at) {
    sonde::v1::CreateJoinTokenRequest request;
    (*request.mutable_join_token()->mutable_labels())["env"] = "prod";
    return identity::create_join_token({.name = "ann"}, request, at.authority, *at.pool)
        .value()
        .token();
  }
  agent::identity::Options enrollment_at(const Replica& at, std::string join_token) {
    return {
        .state_dir = agent_directory.path() / "state",
        .addresses = {at.server->address()},
        .join_token = std::move(join_token),
        .hostname = "web-1"};
  }
  std::shared_ptr<const agent::identity::Credential> enrolled(Replica& at) {
    return std::make_shared<const agent::identity::Credential>(
        agent::identity::enroll(enrollment_at(at, token(at)), clock).value());
  }
  static agent::link::CredentialSource
  always(std::shared_ptr<const agent::identity::Credential> credential) {
    return [credential] { return credential; };
  }
  // As the use case does: the session and its hosts in one transaction.
  std::string start_session(Replica& at, const std::string& hosts = "env=prod") {
    store::NewSession request;
    request.created_by = "ann";
    request.session.mutable_selector()->set_hosts(hosts);
    request.session.add_probes()->mutable_http();
    request.session.mutable_export_();
    request.session.mutable_expire_time()->set_seconds(time(nullptr) + 300);
    auto id = at.pool->transaction([&](store::Transaction& tx) -> Result<std::string> {
      auto created = TRY(store::create_session(tx, request));
      auto agents = TRY(store::find_agent_views(tx, {}));
      auto chosen = model::choose_agents(created.session.id(), request.session.selector(), agents);
      TRY(store::assign_agents(tx, created.session.id(), chosen));
      return created.session.id();
    });
    EXPECT_TRUE(id.ok()) << id.error().message;
    return id.value();
  }
  void stop_session(Replica& at, const std::string& id) {
    ASSERT_TRUE(
        at.pool->transaction([&](store::Transaction& tx) { return store::stop_session(tx, id); })
            .ok());
  }
  sonde::v1::Session::State state_of(Replica& at, const std::string& id) {
    return at.pool->transaction([&](store::Transaction& tx) { return store::find_session(tx, id); })
        .value()
        .state();
  }
  AssignmentStatus::State host_state(Replica& at, const std::string& id) {
    sonde::v1::ListSessionHostsRequest request;
    request.set_session_id(id);
    auto hosts = at.pool
                     ->transaction([&](store::Transaction& tx) {
                       return store::list_session_hosts(tx, request);
                     })
                     .value();
    return hosts.hosts_size() == 1 ? hosts.hosts(0).status().state()
                                   : AssignmentStatus::STATE_UNSPECIFIED;
  }
  // The reason of a Renew call with this certificate; empty when it succeeds.
  std::string reason_of_renewal(const Replica& at, const agent::identity::Credential& credential) {
    auto stub = sonde::v1::EnrollmentService::NewStub(
        agent::identity::make_channel(at.server->address(), credential));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 10s);
    sonde::v1::RenewRequest request;
    request.set_certificate_request(
        base::PrivateKey::generate().value().certificate_request().value());
    sonde::v1::RenewResponse response;
    grpc::Status status = stub->Renew(&context, request, &response);
    return status.ok() ? "" : std::string(agent::identity::to_error(status).reason);
  }

  base::SystemClock clock;
  ScopedDatabase database;
  ScopedDirectory directory;
  ScopedDirectory agent_directory;
};

TEST_F(AgentLink, ASessionReachesTheAgentAndItsStatusComesBack) {
  auto sonded = replica();
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  ASSERT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SETTINGS, ""); }));
  auto begun = steady_clock::now();

  std::string session = start_session(*sonded);

  ASSERT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SESSION, session); }));
  EXPECT_LT(steady_clock::now() - begun, 300ms);
  EXPECT_TRUE(eventually([&] { return host_state(*sonded, session) == AssignmentStatus::ACTIVE; }));
  EXPECT_TRUE(eventually([&] { return state_of(*sonded, session) == sonde::v1::Session::ACTIVE; }));
  begun = steady_clock::now();
  stop_session(*sonded, session);
  ASSERT_TRUE(eventually([&] { return !agent.holds(AssignmentKey::SESSION, session); }));
  EXPECT_LT(steady_clock::now() - begun, 300ms);
  EXPECT_TRUE(
      eventually([&] { return host_state(*sonded, session) == AssignmentStatus::REMOVED; }));
  EXPECT_TRUE(
      eventually([&] { return state_of(*sonded, session) == sonde::v1::Session::SUCCEEDED; }));
}

TEST_F(AgentLink, TheFleetShowsWhoIsThereAndWhatItSays) {
  auto sonded = replica();
  auto credential = enrolled(*sonded);
  auto state = [&] { return identity::get_agent(credential->agent_id, *sonded->pool).value(); };
  {
    SimpleAgent agent({sonded->server->address()}, always(credential));
    ASSERT_TRUE(eventually([&] { return state().state() == sonde::v1::Agent::ONLINE; }));
    sonde::v1::Agent shown = state();
    EXPECT_EQ(shown.version(), "0.1.0");
    EXPECT_EQ(shown.reported_labels().at("zone"), "a");
    EXPECT_EQ(shown.assigned_labels().at("env"), "prod") << "reported labels never replace these";
    ASSERT_TRUE(identity::drain_agent(credential->agent_id, *sonded->pool).ok());
    EXPECT_EQ(state().state(), sonde::v1::Agent::DRAINING);
    std::string session = start_session(*sonded);
    EXPECT_FALSE(eventually([&] { return agent.holds(AssignmentKey::SESSION, session); }, 300ms));
  }
  EXPECT_TRUE(eventually([&] { return state().state() == sonde::v1::Agent::OFFLINE; }));
}

TEST_F(AgentLink, ALatecomerGetsTheRunningSessions) {
  auto sonded = replica();
  std::string session = start_session(*sonded);

  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));

  EXPECT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SESSION, session); }));
}

TEST_F(AgentLink, SessionsOfOtherHostsDoNotReachIt) {
  auto sonded = replica();
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  ASSERT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SETTINGS, ""); }));

  std::string other = start_session(*sonded, "env=reported");
  std::string mine = start_session(*sonded, "env=prod,zone=a");

  EXPECT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SESSION, mine); }));
  EXPECT_FALSE(agent.holds(AssignmentKey::SESSION, other));
}

TEST_F(AgentLink, ABanEndsTheStreamAtOnceAtEveryReplica) {
  auto first = replica();
  auto second = replica();
  auto credential = enrolled(*first);
  SimpleAgent agent({second->server->address()}, always(credential));
  ASSERT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SETTINGS, ""); }));
  auto begun = steady_clock::now();

  ASSERT_TRUE(identity::ban_agent(credential->agent_id, *first->pool).ok());

  ASSERT_TRUE(eventually([&] { return agent.last_end() == "AGENT_BANNED"; }));
  EXPECT_LT(steady_clock::now() - begun, 500ms);
  EXPECT_FALSE(agent.connected());
  EXPECT_EQ(reason_of_renewal(*first, *credential), "AGENT_BANNED");
  EXPECT_EQ(second->push.live_streams().size(), 0u);
}

TEST_F(AgentLink, AnEvictedAgentComesBackWithANewToken) {
  auto sonded = replica();
  auto credential = enrolled(*sonded);
  SimpleAgent agent({sonded->server->address()}, always(credential));
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));

  ASSERT_TRUE(identity::evict_agent(credential->agent_id, *sonded->pool).ok());

  ASSERT_TRUE(eventually([&] { return agent.last_end() == "AGENT_EVICTED"; }));
  auto again = agent::identity::Identity::open(enrollment_at(*sonded, token(*sonded)), clock);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_NE((*again)->credential()->agent_id, credential->agent_id);
}

TEST_F(AgentLink, AStreamEndsWithItsCertificate) {
  auto sonded = replica({.certificate_lifetime = 2s});
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));

  EXPECT_TRUE(eventually([&] { return agent.last_end() == "CERTIFICATE_EXPIRED"; }));
  EXPECT_FALSE(agent.connected());
}

TEST_F(AgentLink, TheCertificateIsRenewedAtHalfLifeAndTheStreamMovesToIt) {
  auto sonded = replica({.certificate_lifetime = 4s});
  auto identity =
      agent::identity::Identity::open(enrollment_at(*sonded, token(*sonded)), clock).value();
  SimpleAgent agent({sonded->server->address()}, [&] { return identity->credential(); });
  identity->on_renewed([&] { agent.link().credential_changed(); });
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  auto first = identity->credential();

  ASSERT_TRUE(eventually([&] { return identity->credential() != first; }, 4s));

  EXPECT_EQ(identity->credential()->agent_id, first->agent_id);
  EXPECT_GT(identity->credential()->not_after, first->not_after);
  EXPECT_TRUE(eventually([&] { return agent.link().stats().connects >= 2 && agent.connected(); }));
  EXPECT_EQ(agent.last_end(), "CERTIFICATE_RENEWED");
  auto loaded = agent::identity::load(agent_directory.path() / "state", clock);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  EXPECT_EQ(loaded->certificate_chain_pem, identity->credential()->certificate_chain_pem);
  identity->on_renewed({});
}

TEST_F(AgentLink, ForgedExpiredAndMissingCertificatesAreRefusedWithTheirReason) {
  auto sonded = replica({.certificate_lifetime = 1s});
  agent::identity::Credential good = *enrolled(*sonded);
  ScopedDirectory elsewhere;
  auto forger = identity::Authority::open({.directory = elsewhere.path()}, clock, true).value();
  auto key = base::PrivateKey::from_pem(good.key_pem).value();
  auto request = base::read_certificate_request(key.certificate_request().value()).value();
  agent::identity::Credential forged = good;
  forged.certificate_chain_pem = forger.issue_agent(good.agent_id, request).value().chain_pem;
  agent::identity::Credential untracked = good;
  untracked.certificate_chain_pem =
      sonded->authority.issue_agent(good.agent_id, request).value().chain_pem;
  agent::identity::Credential none{.authorities_pem = good.authorities_pem};

  EXPECT_EQ(reason_of_renewal(*sonded, good), "");
  EXPECT_EQ(reason_of_renewal(*sonded, forged), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(reason_of_renewal(*sonded, untracked), "AGENT_UNKNOWN");
  EXPECT_TRUE(
      eventually([&] { return reason_of_renewal(*sonded, good) == "CERTIFICATE_EXPIRED"; }, 5s));
  EXPECT_NE(reason_of_renewal(*sonded, none), "");
  SimpleAgent agent(
      {sonded->server->address()},
      always(std::make_shared<const agent::identity::Credential>(forged)));
  EXPECT_TRUE(
      eventually([&] { return agent.link().stats().last_error == "CERTIFICATE_UNTRUSTED"; }));
  EXPECT_EQ(agent.link().stats().connects, 0u);
}

TEST_F(AgentLink, AnImpostorLearnsNothing) {
  auto sonded = replica();
  ScopedDatabase other_database;
  ScopedDirectory other_directory;
  Replica impostor(other_database, other_directory.path(), {});
  auto options = enrollment_at(*sonded, token(*sonded));
  options.addresses = {impostor.server->address()};

  auto refused = agent::identity::enroll(options, clock);

  EXPECT_EQ(refused.error().reason, "AUTHORITY_MISMATCH");
  EXPECT_EQ(impostor.calls, 0);
  options.addresses.push_back(sonded->server->address());
  EXPECT_TRUE(agent::identity::enroll(options, clock).ok()) << "the next address is asked";
}

TEST_F(AgentLink, EnrollmentSurvivesALostReplyAndKeepsItsFilesToItself) {
  auto sonded = replica();
  auto options = enrollment_at(*sonded, token(*sonded));
  auto lost = agent::identity::enroll(options, clock).value();
  std::filesystem::remove(options.state_dir / "agent.crt"); // as if it never came

  auto again = agent::identity::Identity::open(options, clock);

  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ((*again)->credential()->agent_id, lost.agent_id);
  for (const auto& file : std::filesystem::directory_iterator(options.state_dir)) {
    struct stat status {};
    ASSERT_EQ(stat(file.path().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << file.path();
  }
  ScopedDirectory other_host;
  options.state_dir = other_host.path() / "state";
  EXPECT_EQ(agent::identity::enroll(options, clock).error().reason, "JOIN_TOKEN_USED");
  options.join_token.clear();
  EXPECT_EQ(agent::identity::Identity::open(options, clock).error().reason, "NOT_ENROLLED");
}

TEST_F(AgentLink, AReplicaThatComesBackFindsItsAgentsWithWhatTheyHold) {
  auto sonded = replica();
  uint16_t port = sonded->server->port();
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  std::string kept = start_session(*sonded);
  std::string stopped = start_session(*sonded);
  ASSERT_TRUE(eventually([&] {
    return host_state(*sonded, kept) == AssignmentStatus::ACTIVE &&
           host_state(*sonded, stopped) == AssignmentStatus::ACTIVE;
  }));

  sonded.reset();
  ASSERT_TRUE(eventually([&] { return !agent.connected(); }));
  Replica::Options options{.push = {.lease_refresh_interval = 1s}, .port = port};
  auto back = replica(options);
  stop_session(*back, stopped);

  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  EXPECT_TRUE(eventually([&] { return host_state(*back, kept) == AssignmentStatus::ACTIVE; }));
  EXPECT_TRUE(eventually([&] { return !agent.holds(AssignmentKey::SESSION, stopped); }));
  EXPECT_EQ(agent.deltas_with(kept), 1) << "what is held is not sent again";
  int leases = agent.leases();
  EXPECT_TRUE(eventually([&] { return agent.leases() >= leases + 2; }));
}

TEST_F(AgentLink, ADeadAddressIsPassedOver) {
  auto sonded = replica();
  auto dead = replica();
  std::string nobody = dead->server->address();
  dead.reset();

  SimpleAgent agent({nobody, sonded->server->address()}, always(enrolled(*sonded)));

  EXPECT_TRUE(eventually([&] { return agent.connected(); }));
}

TEST_F(AgentLink, ProcessesAndHealthReachTheStore) {
  auto sonded = replica();
  auto credential = enrolled(*sonded);
  SimpleAgent agent({sonded->server->address()}, always(credential));
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  sonde::v1::AgentHealth health;
  health.set_resident_bytes(20 << 20);
  agent.link().heartbeat(health);
  sonde::v1::Process started;
  started.set_pid(4712);
  agent.link().report_processes({started}, {4711});

  auto pids = [&] {
    auto response = sonded->pool->transaction(
        [](store::Transaction& tx) { return store::list_processes(tx, {}); });
    std::set<uint32_t> found;
    for (const auto& process : response.value().processes()) found.insert(process.pid());
    return found;
  };
  EXPECT_TRUE(eventually([&] { return pids() == std::set<uint32_t>{4712}; }));
  EXPECT_TRUE(eventually(
      [&] {
        return identity::get_agent(credential->agent_id, *sonded->pool)
                   .value()
                   .health()
                   .resident_bytes() == 20 << 20;
      },
      15s));
}

} // namespace
