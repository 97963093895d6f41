#include "controlplane/identity/administration.h"
#include "controlplane/identity/enrollment.h"

#include "base/hex.h"
#include "base/join_token.h"
#include "controlplane/store/agents.h"
#include "tests/postgres/postgres_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace controlplane;
using base::PrivateKey;
using base::Result;
using identity::Authority;
using identity::Enrollment;
using postgres_fixture::ScopedDatabase;
using sonde::v1::Agent;
using sonde::v1::EnrollRequest;
using sonde::v1::EnrollResponse;
using sonde::v1::JoinToken;

class ScopedDirectory {
 public:
  ScopedDirectory() {
    char name[] = "/tmp/sonde_identity_XXXXXX";
    path_ = mkdtemp(name);
  }
  ~ScopedDirectory() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

template <class T> std::string reason_of(const Result<T>& result) {
  return result.ok() ? "" : std::string(result.error().reason);
}

struct Host {
  PrivateKey key = PrivateKey::generate().value();

  EnrollRequest request(const std::string& token) const {
    EnrollRequest request;
    request.set_join_token(token);
    request.set_certificate_request(key.certificate_request().value());
    request.set_hostname("web-1");
    return request;
  }
};

class Identity : public testing::Test {
 protected:
  JoinToken token(int ttl_seconds = 600, const std::string& environment = "prod") {
    sonde::v1::CreateJoinTokenRequest request;
    (*request.mutable_join_token()->mutable_labels())["env"] = environment;
    request.mutable_join_token()->mutable_ttl()->set_seconds(ttl_seconds);
    return identity::create_join_token(caller, request, authority, *pool).value();
  }
  // Moves the token's end into the past, as waiting would.
  void expire(const JoinToken& token) {
    auto done = pool->transaction([&](store::Transaction& tx) {
      return tx.exec(
          "update join_tokens set expire_time = now() - interval '1 second' where id = $1",
          token.id());
    });
    ASSERT_TRUE(done.ok());
  }
  Result<identity::AgentCertificate> admit(const std::string& certificate_pem) {
    auto certificate = TRY(enrollment.verify(certificate_pem));
    TRY(enrollment.admit(certificate));
    return certificate;
  }
  Result<EnrollResponse> enroll(const Host& host, const std::string& text) {
    return enrollment.enroll(host.request(text), "192.0.2.1");
  }

  ScopedDatabase database;
  std::unique_ptr<store::Pool> pool = database.pool();
  ScopedDirectory directory;
  base::ManualClock clock{1h, base::SystemClock().wall_time()};
  model::Caller caller{.role = model::Role::kAdmin, .name = "ann"};
  Authority authority =
      identity::open_authority(*pool, {.directory = directory.path()}, clock).value();
  Enrollment enrollment{authority, *pool};
};

TEST_F(Identity, AHostGetsItsIdentityAndLabelsFromTheToken) {
  JoinToken created = token();
  Host host;

  EnrollResponse response = enroll(host, created.token()).value();

  auto caller_certificate = admit(response.certificate_chain());
  ASSERT_TRUE(caller_certificate.ok()) << caller_certificate.error().message;
  EXPECT_EQ(caller_certificate->agent_id, response.agent_id());
  auto certificate = base::Certificate::from_pem(response.certificate_chain()).value();
  EXPECT_THAT(
      certificate.uris(),
      testing::ElementsAre("spiffe://sonde.local/agent/" + response.agent_id()));
  EXPECT_LE(certificate.not_after(), clock.wall_time() + 24h);
  EXPECT_EQ(response.authorities(), authority.certificate_pem());
  Agent agent = identity::get_agent(response.agent_id(), *pool).value();
  EXPECT_EQ(agent.assigned_labels().at("env"), "prod");
  EXPECT_EQ(agent.hostname(), "web-1");
  EXPECT_EQ(agent.state(), Agent::OFFLINE);
}

TEST_F(Identity, ALostReplyDoesNotBurnTheHost) {
  JoinToken created = token();
  Host host;
  EnrollResponse lost = enroll(host, created.token()).value();

  EnrollResponse again = enroll(host, created.token()).value();

  EXPECT_EQ(again.agent_id(), lost.agent_id());
  EXPECT_TRUE(admit(again.certificate_chain()).ok());
  EXPECT_EQ(reason_of(enroll(Host(), created.token())), "JOIN_TOKEN_USED");
  expire(created);
  EXPECT_EQ(reason_of(enroll(host, created.token())), "JOIN_TOKEN_EXPIRED");
}

TEST_F(Identity, OnlyOneOfManyHostsGetsThroughWithOneToken) {
  JoinToken created = token();
  std::atomic<int> enrolled{0};
  std::atomic<int> refused{0};
  std::vector<std::jthread> threads;

  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto result = enroll(Host(), created.token());
      enrolled += result.ok();
      refused += reason_of(result) == "JOIN_TOKEN_USED";
    });
  for (auto& thread : threads) thread.join();

  EXPECT_EQ(enrolled, 1);
  EXPECT_EQ(refused, 7);
}

TEST_F(Identity, WrongTokensAreRefusedWithTheirReason) {
  Host host;
  std::string foreign = base::JoinToken::generate(base::sha256("another authority")).to_text();
  std::string guessed = base::JoinToken::generate(authority.sha256()).to_text();
  JoinToken expired = token();
  expire(expired);
  EnrollRequest no_key = host.request(token().token());
  no_key.set_certificate_request("garbage");

  EXPECT_EQ(reason_of(enroll(host, "garbage")), "INVALID_JOIN_TOKEN");
  EXPECT_EQ(reason_of(enroll(host, foreign)), "JOIN_TOKEN_UNKNOWN");
  EXPECT_EQ(reason_of(enroll(host, guessed)), "JOIN_TOKEN_UNKNOWN");
  EXPECT_EQ(reason_of(enroll(host, expired.token())), "JOIN_TOKEN_EXPIRED");
  EXPECT_EQ(reason_of(enrollment.enroll(no_key, "")), "INVALID_CERTIFICATE_REQUEST");
}

TEST_F(Identity, SecretsAreStoredAsHashesOnly) {
  JoinToken created = token();
  std::string secret = base::JoinToken::parse(created.token()).value().secret;

  auto rows = pool->transaction([](store::Transaction& tx) {
    return tx.exec("select secret_sha256, join_tokens::text as everything from join_tokens");
  });

  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->front().bytes("secret_sha256"), base::sha256(secret));
  EXPECT_EQ(rows->front().text("everything").find(base::to_hex(secret)), std::string::npos);
  auto listed = identity::list_join_tokens({}, *pool).value();
  EXPECT_EQ(listed.join_tokens(0).token(), "");
  EXPECT_EQ(listed.join_tokens(0).state(), JoinToken::UNUSED);
}

TEST_F(Identity, ARequestIdIsGoodForOneToken) {
  sonde::v1::CreateJoinTokenRequest request;
  request.set_request_id(base::new_uuid());

  auto first = identity::create_join_token(caller, request, authority, *pool);
  auto second = identity::create_join_token(caller, request, authority, *pool);

  EXPECT_TRUE(first.ok());
  EXPECT_EQ(reason_of(second), "REQUEST_ID_USED");
}

TEST_F(Identity, TokensAreRefusedWithBadLabelsOrTimes) {
  auto reason = [&](auto change) {
    sonde::v1::CreateJoinTokenRequest request;
    change(*request.mutable_join_token());
    return reason_of(identity::create_join_token(caller, request, authority, *pool));
  };

  EXPECT_EQ(reason([](JoinToken& t) { t.mutable_ttl()->set_seconds(86'401); }), "INVALID_TTL");
  EXPECT_EQ(reason([](JoinToken& t) { t.mutable_ttl()->set_seconds(-1); }), "INVALID_TTL");
  EXPECT_EQ(
      reason([](JoinToken& t) { t.mutable_expire_time()->set_seconds(1); }), "INVALID_EXPIRE_TIME");
  EXPECT_EQ(reason([](JoinToken& t) { (*t.mutable_labels())["a b"] = "c"; }), "INVALID_LABEL");
  EXPECT_EQ(reason([](JoinToken& t) { (*t.mutable_labels())["a"] = "b\n"; }), "INVALID_LABEL");
}

TEST_F(Identity, RenewalGivesANewCertificateForTheSameAgent) {
  Host host;
  EnrollResponse enrolled = enroll(host, token().token()).value();
  auto before = admit(enrolled.certificate_chain()).value();
  sonde::v1::RenewRequest request;
  request.set_certificate_request(PrivateKey::generate().value().certificate_request().value());

  auto renewed = enrollment.renew(before.agent_id, request).value();

  auto after = admit(renewed.certificate_chain()).value();
  EXPECT_EQ(after.agent_id, before.agent_id);
  EXPECT_NE(after.serial, before.serial);
  EXPECT_TRUE(admit(enrolled.certificate_chain()).ok()) << "in time until it expires";
}

TEST_F(Identity, ForgedExpiredAndUntrackedCertificatesAreNotLetIn) {
  Host host;
  EnrollResponse enrolled = enroll(host, token().token()).value();
  ScopedDirectory other;
  Authority forger = Authority::open({.directory = other.path()}, clock, true).value();
  auto key = base::read_certificate_request(host.key.certificate_request().value()).value();
  auto forged = forger.issue_agent(enrolled.agent_id(), key).value();
  auto untracked = authority.issue_agent(enrolled.agent_id(), key).value();
  auto server = authority.issue_server({"localhost"}).value();

  EXPECT_EQ(reason_of(admit(forged.chain_pem)), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(reason_of(admit(untracked.chain_pem)), "AGENT_UNKNOWN");
  EXPECT_EQ(reason_of(admit(server.chain_pem)), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(reason_of(admit("garbage")), "CERTIFICATE_UNTRUSTED");
  EXPECT_EQ(reason_of(admit("")), "CERTIFICATE_REQUIRED");
  clock.advance(25h);
  EXPECT_EQ(reason_of(admit(enrolled.certificate_chain())), "CERTIFICATE_EXPIRED");
}

TEST_F(Identity, AnEvictedAgentIsOutUntilItEnrollsAgain) {
  Host host;
  EnrollResponse enrolled = enroll(host, token().token()).value();
  sonde::v1::RenewRequest request;
  request.set_certificate_request(host.key.certificate_request().value());

  Agent evicted = identity::evict_agent(enrolled.agent_id(), *pool).value();

  EXPECT_EQ(evicted.state(), Agent::EVICTED);
  EXPECT_EQ(reason_of(admit(enrolled.certificate_chain())), "AGENT_EVICTED");
  EXPECT_EQ(reason_of(enrollment.renew(enrolled.agent_id(), request)), "AGENT_EVICTED");
  auto again = enroll(host, token(600, "test").token());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_NE(again->agent_id(), enrolled.agent_id()) << "identity comes from the token";
  EXPECT_TRUE(admit(again->certificate_chain()).ok());
}

TEST_F(Identity, ABannedAgentDoesNotComeBackWithItsKey) {
  Host host;
  JoinToken created = token();
  EnrollResponse enrolled = enroll(host, created.token()).value();

  Agent banned = identity::ban_agent(enrolled.agent_id(), *pool).value();

  EXPECT_EQ(banned.state(), Agent::BANNED);
  EXPECT_EQ(reason_of(admit(enrolled.certificate_chain())), "AGENT_BANNED");
  EXPECT_EQ(reason_of(enroll(host, created.token())), "AGENT_BANNED");
  EXPECT_EQ(reason_of(enroll(host, token().token())), "AGENT_BANNED");
  EXPECT_EQ(reason_of(identity::evict_agent(enrolled.agent_id(), *pool)), "AGENT_BANNED");
  EXPECT_EQ(reason_of(identity::drain_agent(enrolled.agent_id(), *pool)), "AGENT_BANNED");
}

TEST_F(Identity, AHostThatEnrollsAgainTakesThePlaceOfItsFormerSelf) {
  Host host;
  EnrollResponse first = enroll(host, token().token()).value();

  EnrollResponse second = enroll(host, token().token()).value();

  EXPECT_NE(first.agent_id(), second.agent_id());
  EXPECT_EQ(reason_of(admit(first.certificate_chain())), "AGENT_EVICTED");
  EXPECT_TRUE(admit(second.certificate_chain()).ok());
}

TEST_F(Identity, AgentsAreListedInPagesAndFiltered) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(enroll(Host(), token().token()).ok());
  std::string drained = identity::list_agents({}, *pool).value().agents(2).id();
  ASSERT_TRUE(identity::ban_agent(drained, *pool).ok());
  sonde::v1::ListAgentsRequest request;
  request.set_page_size(2);
  std::set<std::string> seen;
  int pages = 0;

  do {
    auto response = identity::list_agents(request, *pool).value();
    for (const Agent& agent : response.agents()) seen.insert(agent.id());
    request.set_page_token(response.next_page_token());
    ++pages;
  } while (!request.page_token().empty());

  EXPECT_EQ(seen.size(), 5u);
  EXPECT_EQ(pages, 3);
  auto count = [&](const std::string& filter) {
    sonde::v1::ListAgentsRequest filtered;
    filtered.set_filter(filter);
    return identity::list_agents(filtered, *pool).value().agents_size();
  };
  EXPECT_EQ(count("state = \"BANNED\""), 1);
  EXPECT_EQ(count("state != BANNED AND hostname = \"web-1\""), 4);
  EXPECT_EQ(count("hostname = \"'; drop table agents\""), 0);
  EXPECT_EQ(count("hostname = \"web*\""), 5);
  EXPECT_EQ(count("hostname = \"*-1\" AND hostname != \"db*\""), 5);
  EXPECT_EQ(count("hostname != \"web-*\""), 0);
  EXPECT_EQ(count("hostname = \"w_b*\""), 0) << "an underscore is one";
  const std::map<std::string, int64_t> states{{"BANNED", 1}, {"OFFLINE", 4}};
  EXPECT_EQ(pool->transaction([](auto& tx) { return store::count_agents(tx); }).value(), states);
}

TEST_F(Identity, ListsRefuseWhatTheyDoNotUnderstand) {
  auto reason = [&](const std::string& filter, const std::string& page_token, int page_size) {
    sonde::v1::ListAgentsRequest request;
    request.set_filter(filter);
    request.set_page_token(page_token);
    request.set_page_size(page_size);
    return reason_of(identity::list_agents(request, *pool));
  };

  for (const char* filter :
       {"state", "state =", "state = X", "color = \"red\"", "state > ONLINE", "hostname = \"x",
        "state = ONLINE AND", "state = ONLINE OR state = OFFLINE", "= =", "!"})
    EXPECT_EQ(reason(filter, "", 0), "INVALID_FILTER") << filter;
  EXPECT_EQ(reason("", "zz", 0), "INVALID_PAGE_TOKEN");
  EXPECT_EQ(reason("", base::to_hex(base::new_uuid() + "'; select 1;"), 0), "INVALID_PAGE_TOKEN");
  EXPECT_EQ(reason("", "", -1), "PAGE_SIZE_NEGATIVE");
  EXPECT_EQ(reason_of(identity::get_agent("nobody", *pool)), "AGENT_NOT_FOUND");
  EXPECT_EQ(reason_of(identity::get_agent(base::new_uuid(), *pool)), "AGENT_NOT_FOUND");
}

TEST_F(Identity, AssignedLabelsChangeOnlyWithTheNewestEtag) {
  std::string id = enroll(Host(), token().token()).value().agent_id();
  sonde::v1::UpdateAgentRequest request;
  request.mutable_agent()->set_id(id);
  (*request.mutable_agent()->mutable_assigned_labels())["env"] = "test";
  request.mutable_agent()->set_etag(identity::get_agent(id, *pool)->etag());

  Agent updated = identity::update_agent(request, *pool).value();

  EXPECT_EQ(updated.assigned_labels().at("env"), "test");
  EXPECT_EQ(reason_of(identity::update_agent(request, *pool)), "ETAG_MISMATCH");
  request.mutable_update_mask()->add_paths("hostname");
  EXPECT_EQ(reason_of(identity::update_agent(request, *pool)), "INVALID_UPDATE_MASK");
}

TEST_F(Identity, TheAuthorityIsFoundedOnceAndItsKeyStaysInAFile) {
  struct stat key_file {};
  ASSERT_EQ(stat((directory.path() / "authority.key").c_str(), &key_file), 0);
  EXPECT_EQ(key_file.st_mode & 0777, 0600u);

  auto restarted = identity::open_authority(*pool, {.directory = directory.path()}, clock);

  EXPECT_EQ(restarted->sha256(), authority.sha256());
  ScopedDirectory empty;
  EXPECT_EQ(
      reason_of(identity::open_authority(*pool, {.directory = empty.path()}, clock)),
      "AUTHORITY_MISSING");
  ScopedDirectory other;
  ASSERT_TRUE(Authority::open({.directory = other.path()}, clock, true).ok());
  EXPECT_EQ(
      reason_of(identity::open_authority(*pool, {.directory = other.path()}, clock)),
      "AUTHORITY_MISMATCH");
  std::ofstream(directory.path() / "authority.key") << PrivateKey::generate()->to_pem();
  EXPECT_EQ(
      reason_of(identity::open_authority(*pool, {.directory = directory.path()}, clock)),
      "INVALID_AUTHORITY");
}

} // namespace
