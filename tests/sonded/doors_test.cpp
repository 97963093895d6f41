// What the doors of sonded say before a use case runs: health, TLS, and what is too large.
#include "tests/sonded/scoped_sonded.h"

#include "sonde/v1/agent.pb.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using controlplane::store::Bytes;
using controlplane::store::Transaction;
using sonded_fixture::ScopedSonded;
using testing::ContainsRegex;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr size_t kTenMegabytes = 10'000'000;
// gRPC 1.51 reads a header of ten megabytes in some ten seconds of CPU time before it refuses it.
constexpr auto kDeadline = 90s;

// One sonded for all tests of this file that leave it as they found it.
ScopedSonded& shared_sonded() {
  static ScopedSonded sonded;
  return sonded;
}

template <class Condition> bool eventually(Condition condition) {
  auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(10ms);
  return condition();
}

struct RawAnswer {
  grpc::Status status;
  std::string message; // serialized
};

// A unary call of bytes, as any client could send them.
RawAnswer call(
    const ScopedSonded& sonded, const std::string& method, const std::string& message,
    const std::map<std::string, std::string>& metadata) {
  grpc::GenericStub stub(sonded.channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  for (const auto& [name, value] : metadata) context.AddMetadata(name, value);
  grpc::Slice slice(message);
  grpc::ByteBuffer sent(&slice, 1), received;
  grpc::CompletionQueue queue;
  auto pending = stub.PrepareUnaryCall(&context, method, sent, &queue);
  RawAnswer answer;
  pending->StartCall();
  pending->Finish(&received, &answer.status, &context);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (grpc::Slice whole; answer.status.ok() && received.DumpToSingleSlice(&whole).ok())
    answer.message.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  return answer;
}

// grpc.health.v1.HealthCheckResponse has one field, the status, and 1 is SERVING, 2 NOT_SERVING.
std::string health(const ScopedSonded& sonded) {
  auto answer = call(sonded, "/grpc.health.v1.Health/Check", "", {});
  if (!answer.status.ok()) return answer.status.error_message();
  if (answer.message == "\x08\x01") return "SERVING";
  if (answer.message == "\x08\x02") return "NOT_SERVING";
  return "unknown";
}

TEST(Health, IsServingForAnybodyAndNotWhileTheStoreIsAway) {
  ScopedSonded sonded;
  EXPECT_TRUE(eventually([&] { return health(sonded) == "SERVING"; })) << health(sonded);

  sonded.database().take_away();
  EXPECT_TRUE(eventually([&] { return health(sonded) == "NOT_SERVING"; })) << health(sonded);
  EXPECT_EQ(sonded.rest("GET", "/readyz", "", "").status, 503U);
  EXPECT_EQ(sonded.rest("GET", "/healthz", "", "").status, 200U) << "the process itself is well";

  sonded.database().give_back();
  EXPECT_TRUE(eventually([&] { return health(sonded) == "SERVING"; })) << sonded.log();
}

// GET over TLS with the authority of sonded as the only root; the answer's status and body.
std::pair<unsigned, std::string> get_over_tls(const ScopedSonded& sonded, const std::string& path) {
  asio::io_context io;
  asio::ssl::context tls(asio::ssl::context::tls_client);
  tls.load_verify_file(sonded.authority_file());
  asio::ssl::stream<tcp::socket> stream(io, tls);
  stream.set_verify_mode(asio::ssl::verify_peer);
  stream.set_verify_callback(asio::ssl::host_name_verification("127.0.0.1"));
  stream.next_layer().connect({asio::ip::make_address("127.0.0.1"), sonded.rest_port()});
  stream.handshake(asio::ssl::stream_base::client);
  http::request<http::empty_body> request(http::verb::get, path, 11);
  request.set(http::field::host, "127.0.0.1");
  request.set(http::field::authorization, ScopedSonded::bearer("viewer"));
  http::write(stream, request);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(stream, buffer, response);
  return {response.result_int(), response.body()};
}

TEST(RestOverTls, AnswersThoseWhoTrustTheAuthorityAndNobodyInPlaintext) {
  ScopedSonded sonded({"--rest-tls", "on"});

  auto [status, body] = get_over_tls(sonded, "/v1/sessions");
  auto plaintext = sonded.raw("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");

  EXPECT_EQ(status, 200U);
  EXPECT_EQ(body, "{}");
  EXPECT_THAT(plaintext, testing::Not(HasSubstr("HTTP/1.1 200")));
  EXPECT_EQ(get_over_tls(sonded, "/healthz").first, 200U) << "the garbage harmed nobody";
}

TEST(GrpcLimits, AHeaderOfTenMegabytesIsRefusedInBoundedMemory) {
  auto& sonded = shared_sonded();
  auto before = sonded.resident_bytes();

  auto answer = call(
      sonded, "/sonde.v1.SessionService/ListSessions", "",
      {{"authorization", ScopedSonded::bearer("viewer")},
       {"x-big", std::string(kTenMegabytes, 'a')}});

  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("metadata size exceeds limit"));
  EXPECT_LT(sonded.resident_bytes(), before + 2 * kTenMegabytes);
  EXPECT_TRUE(eventually([&] { return health(sonded) == "SERVING"; })) << "on a new connection";
}

TEST(GrpcLimits, AMessageOfTenMegabytesIsRefused) {
  auto& sonded = shared_sonded();

  auto answer = call(
      sonded, "/sonde.v1.SessionService/CreateSession", std::string(kTenMegabytes, '\n'),
      {{"authorization", ScopedSonded::bearer("operator")}});

  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << answer.status.error_message();
  EXPECT_EQ(health(sonded), "SERVING");
}

TEST(RestLimits, ABodyOfTenMegabytesIsRefusedInBoundedMemory) {
  auto& sonded = shared_sonded();
  auto before = sonded.resident_bytes();

  auto answer = sonded.raw(
      "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: " + ScopedSonded::bearer("admin") +
      "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(kTenMegabytes) +
      "\r\n\r\n" + std::string(kTenMegabytes, ' '));

  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr("BODY_TOO_LARGE"));
  EXPECT_LT(sonded.resident_bytes(), before + kTenMegabytes / 2);
}

// A host that a replica holds the stream of, as the store sees it.
void insert_connected_agent(
    ScopedSonded& sonded, const std::string& capabilities,
    const sonde::v1::AgentHealth& health = {}) {
  auto inserted = sonded.pool().transaction([&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec("insert into replicas (id) values ('5f3c1f0e-58a5-4c39-8a1d-6f2a6f1d9a01')"));
    TRY(tx.exec(
        "insert into agents (id, hostname, capabilities, health, replica_id) values "
        "('0b7c7a0a-4b5a-4a55-9a6e-2f8f0b1c2d03', 'web-1', $1::text[], $2::bytea, "
        "'5f3c1f0e-58a5-4c39-8a1d-6f2a6f1d9a01')",
        capabilities, Bytes{health.SerializeAsString()}));
    return {};
  });
  ASSERT_TRUE(inserted.ok()) << inserted.error().message;
}

TEST(Sessions, AProbeThatNoConnectedHostHasIsRefusedAtOnce) {
  ScopedSonded sonded;
  insert_connected_agent(sonded, "{sql}");
  const std::string session = R"({"selector":{"hosts":"*"},"probes":[{"http":{}}],"ttl":"60s"})";

  auto answer = sonded.rest("POST", "/v1/sessions", session);
  auto dry = sonded.rest("POST", "/v1/sessions?validateOnly=true", session);

  for (const auto& refused : {answer, dry}) {
    EXPECT_EQ(refused.status, 400U) << refused.body;
    EXPECT_THAT(refused.body, HasSubstr("PROBE_UNSUPPORTED"));
    EXPECT_THAT(refused.body, HasSubstr("none of the 1 connected hosts"));
    EXPECT_THAT(refused.body, HasSubstr(R"("field":"probes[0]")"));
  }
  EXPECT_EQ(sonded.rest("GET", "/v1/sessions").body, "{}") << "nothing was stored";
}

TEST(Sessions, ADryRunNamesTheCost) {
  auto dry = shared_sonded().rest(
      "POST", "/v1/sessions?validateOnly=true",
      R"({"selector":{"hosts":"*"},"probes":[{"http":{}}],"budget":{"cpuFraction":0.02}})");

  EXPECT_EQ(dry.status, 200U) << dry.body;
  EXPECT_THAT(
      dry.body,
      ContainsRegex(R"("estimate":[{]"serverRequestMicros":[0-9.]*[1-9],"clientRequestMicros":)"
                    R"([0-9.]*[1-9],"agentSpanMicros":[0-9.]*[1-9],)"));
  EXPECT_THAT(dry.body, HasSubstr("each host holds it to 2 % of a CPU"));
}

TEST(Metrics, HaveTheNamesThatDashboardsNeed) {
  ScopedSonded sonded({"--otlp", "nowhere=127.0.0.1:9"});
  sonde::v1::AgentHealth health;
  health.set_events(1234);
  health.set_map_usage_ratio(0.5);
  auto& loss = *health.add_losses();
  loss.set_reason("RING_FULL");
  loss.set_count(7);
  insert_connected_agent(sonded, "{http}", health);

  const auto page = sonded.metrics().body;

  const std::string agent = R"(agent="0b7c7a0a-4b5a-4a55-9a6e-2f8f0b1c2d03")";
  EXPECT_THAT(page, HasSubstr("sonde_events_total{" + agent + R"(,hostname="web-1"} 1234)"));
  EXPECT_THAT(page, HasSubstr("sonde_events_lost_total{" + agent + R"(,reason="RING_FULL"} 7)"));
  EXPECT_THAT(page, HasSubstr("sonde_map_usage_ratio{" + agent + R"(,hostname="web-1"} 0.5)"));
  EXPECT_THAT(page, HasSubstr(R"(sonde_export_duration_seconds_count{destination="nowhere"} 0)"));
}

} // namespace
