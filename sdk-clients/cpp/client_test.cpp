#include "sdk-clients/cpp/client.h"

#include "sdk-clients/cpp/status.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sonde/v1/agent_service.grpc.pb.h>
#include <sonde/v1/result_service.grpc.pb.h>
#include <sonde/v1/session_service.grpc.pb.h>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace sonde {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

grpc::Status with_details(grpc::StatusCode code, const std::string& message) {
  google::rpc::Status status;
  status.set_code(code);
  google::rpc::ErrorInfo info;
  info.set_reason("TTL_TOO_LONG");
  status.add_details()->PackFrom(info);
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("session.ttl");
  violation->set_description("at most 3600 s");
  status.add_details()->PackFrom(bad);
  return {code, message, status.SerializeAsString()};
}

// Fails the first `failures` calls, remembers what it was asked.
class Sessions final : public v1::SessionService::Service {
 public:
  grpc::Status CreateSession(
      grpc::ServerContext* context, const v1::CreateSessionRequest* request,
      v1::Session* response) override {
    request_ids.push_back(request->request_id());
    const auto found = context->client_metadata().find("authorization");
    if (found != context->client_metadata().end())
      authorization = std::string(found->second.data(), found->second.size());
    if (failures-- > 0) return {grpc::StatusCode::UNAVAILABLE, "restarting"};
    if (request->session().ttl().seconds() > 3600)
      return with_details(grpc::StatusCode::INVALID_ARGUMENT, "the session is not valid");
    response->set_id("s1");
    return grpc::Status::OK;
  }
  int failures = 0;
  std::vector<std::string> request_ids;
  std::string authorization;
};

class Agents final : public v1::AgentService::Service {
  grpc::Status ListAgents(
      grpc::ServerContext*, const v1::ListAgentsRequest* request,
      v1::ListAgentsResponse* response) override {
    response->add_agents()->set_id(request->page_token().empty() ? "a" : "b");
    if (request->page_token().empty()) response->set_next_page_token("2");
    return grpc::Status::OK;
  }
};

// Breaks the stream after the first event, and goes on behind it.
class Results final : public v1::ResultService::Service {
  grpc::Status TailSession(
      grpc::ServerContext*, const v1::TailSessionRequest* request,
      grpc::ServerWriter<v1::TailSessionResponse>* writer) override {
    v1::TailSessionResponse event;
    const bool resumed = request->after_event_id() == "1";
    event.set_event_id(resumed ? "2" : "1");
    writer->Write(event);
    return resumed ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  }
};

class ClientTest : public testing::Test {
 protected:
  ClientTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&sessions_).RegisterService(&agents_).RegisterService(&results_);
    server_ = builder.BuildAndStart();
    client_.emplace(
        ClientConfig{.server = "test", .token = "secret", .authorities = {}, .ca_file = {}},
        server_->InProcessChannel({}));
  }
  ~ClientTest() override {
    client_.reset();
    server_->Shutdown();
  }

  Sessions sessions_;
  Agents agents_;
  Results results_;
  std::unique_ptr<grpc::Server> server_;
  std::optional<Client> client_;
};

TEST_F(ClientTest, SendsTheTokenAndRepeatsACallWithTheSameRequestId) {
  sessions_.failures = 2;

  const auto session = client_->create_session({});

  ASSERT_TRUE(session.ok());
  EXPECT_EQ(session->id(), "s1");
  EXPECT_EQ(sessions_.authorization, "Bearer secret");
  ASSERT_EQ(sessions_.request_ids.size(), 3u);
  EXPECT_FALSE(sessions_.request_ids[0].empty());
  EXPECT_EQ(sessions_.request_ids[0], sessions_.request_ids[2]);
}

TEST_F(ClientTest, GivesUpWhenTheServerStaysAway) {
  sessions_.failures = 100;

  const auto session = client_->create_session({});

  EXPECT_EQ(session.error().code, base::Code::kUnavailable);
  EXPECT_EQ(sessions_.request_ids.size(), static_cast<size_t>(limits::kCallAttempts));
}

TEST_F(ClientTest, CarriesReasonAndFieldsOfARefusal) {
  v1::CreateSessionRequest request;
  request.mutable_session()->mutable_ttl()->set_seconds(7200);

  const auto session = client_->create_session(request);

  EXPECT_EQ(session.error().code, base::Code::kInvalidArgument);
  EXPECT_EQ(session.error().reason, "TTL_TOO_LONG");
  EXPECT_EQ(session.error().field, "session.ttl");
  EXPECT_THAT(session.error().message, HasSubstr("at most 3600 s"));
  EXPECT_EQ(sessions_.request_ids.size(), 1u);
}

TEST_F(ClientTest, WalksAllPages) {
  const auto agents = all_pages(
      *client_, &Client::list_agents, v1::ListAgentsRequest(), &v1::ListAgentsResponse::agents);

  ASSERT_TRUE(agents.ok());
  ASSERT_EQ(agents->size(), 2u);
  EXPECT_EQ((*agents)[1].id(), "b");
}

TEST_F(ClientTest, ResumesABrokenTailBehindItsLastEvent) {
  std::vector<std::string> ids;

  const auto end = client_->tail_session("s1", [&](const v1::TailSessionResponse& event) {
    ids.push_back(event.event_id());
    return true;
  });

  EXPECT_TRUE(end.ok());
  EXPECT_THAT(ids, ElementsAre("1", "2"));
}

// A listener of which the far end is slow: it takes connections and never says a word.
class SilentServer {
 public:
  SilentServer() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(fd_, generic, size), 0);
    EXPECT_EQ(listen(fd_, 4), 0);
    EXPECT_EQ(getsockname(fd_, generic, &size), 0);
    name_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~SilentServer() { close(fd_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;

  const std::string& name() const { return name_; }
  // How long the first caller stays; `most` when it does not go by itself.
  std::chrono::milliseconds patience_of_caller(std::chrono::milliseconds most) const {
    const int connection = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    const auto start = std::chrono::steady_clock::now();
    const auto passed = [&] {
      return std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - start);
    };
    char bytes[4096];
    pollfd ready{connection, POLLIN, 0};
    while (passed() < most)
      if (poll(&ready, 1, static_cast<int>((most - passed()).count()) + 1) == 1 &&
          read(connection, bytes, sizeof bytes) <= 0)
        break;
    const auto stayed = passed();
    close(connection);
    return stayed;
  }

 private:
  int fd_;
  std::string name_;
};

TEST(Client, GivesADistantServerTimeForItsHandshake) {
  constexpr std::chrono::milliseconds kRoundTripsOfAHandshake{800};
  const SilentServer server;
  Client client(
      {.server = server.name(),
       .token = "secret",
       .authorities = {},
       .ca_file = {},
       .timeout = 3 * kRoundTripsOfAHandshake});

  std::jthread call([&] { static_cast<void>(client.list_agents({})); });
  const auto patience = server.patience_of_caller(kRoundTripsOfAHandshake);
  call.join();

  EXPECT_GE(patience, kRoundTripsOfAHandshake);
}

TEST(Status, TellsAnUntrustedServerFromOneThatIsDown) {
  const auto untrusted = error_from_status(
      {grpc::StatusCode::UNAVAILABLE, "Ssl handshake failed: certificate verify failed"}, "host:1",
      "ca.pem");
  const auto down =
      error_from_status({grpc::StatusCode::UNAVAILABLE, "Connection refused"}, "host:1", "ca.pem");

  EXPECT_EQ(untrusted.reason, "SERVER_NOT_TRUSTED");
  EXPECT_FALSE(is_transient(untrusted));
  EXPECT_EQ(down.reason, "SERVER_UNREACHABLE");
  EXPECT_TRUE(is_transient(down));
  EXPECT_THAT(down.message, HasSubstr("host:1"));
}

} // namespace
} // namespace sonde
