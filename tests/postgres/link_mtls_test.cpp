// Agents and the control plane over real mutual TLS on loopback, with a real PostgreSQL behind it:
// what identity, push and link promise each other.
#include "agent/identity/channel.h"
#include "agent/identity/identity.h"
#include "controlplane/identity/administration.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/offset_tables.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/sessions.h"
#include "sonde/v1/enrollment_service.grpc.pb.h"
#include "tests/postgres/link_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>
#include <thread>

namespace {

using namespace link_fixture; // and what it uses

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

  // Recorded, not asserted: the machine may be busy with other things. tests/bench measures times.
  static void record(const char* name, steady_clock::time_point begun) {
    auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun);
    RecordProperty(name, std::to_string(took.count()));
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
  record("push_ms", begun);
  EXPECT_TRUE(eventually([&] { return host_state(*sonded, session) == AssignmentStatus::ACTIVE; }));
  EXPECT_TRUE(eventually([&] { return state_of(*sonded, session) == sonde::v1::Session::ACTIVE; }));
  begun = steady_clock::now();
  stop_session(*sonded, session);
  ASSERT_TRUE(eventually([&] { return !agent.holds(AssignmentKey::SESSION, session); }));
  record("removal_ms", begun);
  EXPECT_TRUE(
      eventually([&] { return host_state(*sonded, session) == AssignmentStatus::REMOVED; }));
  EXPECT_TRUE(
      eventually([&] { return state_of(*sonded, session) == sonde::v1::Session::SUCCEEDED; }));
}

TEST_F(AgentLink, AnAgentThatReadsTheSameConfirmsAnOffsetTable) {
  auto sonded = replica();
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  sonde::v1::OffsetTable table;
  table.set_go_version("go1.22.12");
  table.set_architecture("amd64");
  auto created = sonded->pool->transaction(
      [&](store::Transaction& tx) { return store::create_offset_table(tx, table, "ann", ""); });
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(created->confirmations(), 0);

  EXPECT_TRUE(eventually([&] {
    return sonded->pool
               ->transaction([&](store::Transaction& tx) {
                 return store::find_offset_table(tx, created->id());
               })
               ->confirmations() == 1;
  }));
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
  record("ban_ms", begun);
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
  auto sonded = replica({.certificate_lifetime = 6s});
  SimpleAgent agent({sonded->server->address()}, always(enrolled(*sonded)));
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));

  EXPECT_TRUE(eventually([&] { return agent.last_end() == "CERTIFICATE_EXPIRED"; }));
  EXPECT_FALSE(agent.connected());
}

TEST_F(AgentLink, TheCertificateIsRenewedAtHalfLifeAndTheStreamMovesToIt) {
  auto sonded = replica({.certificate_lifetime = 10s});
  auto identity =
      agent::identity::Identity::open(enrollment_at(*sonded, token(*sonded)), clock).value();
  SimpleAgent agent({sonded->server->address()}, [&] { return identity->credential(); });
  identity->on_renewed([&] { agent.link().credential_changed(); });
  ASSERT_TRUE(eventually([&] { return agent.connected(); }));
  auto first = identity->credential();

  ASSERT_TRUE(eventually([&] { return identity->credential() != first; }));

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
  auto sonded = replica({.certificate_lifetime = 6s});
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
      eventually([&] { return reason_of_renewal(*sonded, good) == "CERTIFICATE_EXPIRED"; }));
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

TEST_F(AgentLink, AReplicaThatEndsSendsItsAgentsToAnotherOne) {
  auto first = replica();
  auto second = replica();
  const std::string session = start_session(*first);
  SimpleAgent agent(
      {first->server->address(), second->server->address()}, always(enrolled(*first)));
  ASSERT_TRUE(eventually([&] { return agent.holds(AssignmentKey::SESSION, session); }));
  auto& leaving = first->push.stats().agents_connected == 1 ? *first : *second;
  auto& staying = &leaving == first.get() ? *second : *first;
  auto begun = steady_clock::now();

  leaving.push.stop();

  ASSERT_TRUE(eventually([&] { return agent.link().stats().connects >= 2 && agent.connected(); }));
  record("moved_ms", begun);
  EXPECT_EQ(staying.push.stats().agents_connected, 1u);
  EXPECT_TRUE(eventually([&] { return agent.last_end() == "SHUTTING_DOWN"; }));
  EXPECT_EQ(leaving.push.stats().streams_ended, 0u) << "it left by itself";
  EXPECT_EQ(agent.link().stats().connects, 2u) << "nothing else was tried in between";
  EXPECT_TRUE(eventually([&] { return host_state(staying, session) == AssignmentStatus::ACTIVE; }));
  EXPECT_EQ(agent.deltas_with(session), 1) << "what is held is not sent again";
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
  EXPECT_TRUE(eventually([&] {
    return identity::get_agent(credential->agent_id, *sonded->pool)
               .value()
               .health()
               .resident_bytes() == 20 << 20;
  }));
}

} // namespace
