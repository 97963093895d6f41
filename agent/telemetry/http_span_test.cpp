#include "agent/telemetry/http_span.h"

#include "opentelemetry/proto/trace/v1/trace.pb.h"

#include <gmock/gmock.h>

#include <map>

namespace agent::telemetry {
namespace {

using event::HttpExchange;
using event::Outcome;
using event::Side;
using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::Status;
using testing::Contains;
using testing::Key;
using testing::Not;
using testing::Pair;

constexpr int64_t kWallMinusBoot = 1'700'000'000'000'000'000;

HttpExchange server_exchange() {
  HttpExchange exchange;
  exchange.pid = 42;
  exchange.start_ns = 1'000;
  exchange.end_ns = 5'000;
  exchange.trace_id = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6,
                       0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36};
  exchange.span_id = {1, 2, 3, 4, 5, 6, 7, 8};
  exchange.parent_span_id = {0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
  exchange.parent_is_remote = true;
  exchange.trace_flags = 1;
  exchange.method = "GET";
  exchange.target = "/cart/7?page=2&token=abc";
  exchange.host = "shop.example:8080";
  exchange.user_agent = "curl/8.1";
  exchange.status = 200;
  exchange.response_body_bytes = 312;
  exchange.peer = {{10, 0, 203, 9}, 4, 51234};
  exchange.local = {{10, 0, 0, 1}, 4, 8080};
  return exchange;
}

HttpExchange client_exchange() {
  HttpExchange exchange = server_exchange();
  exchange.side = Side::kClient;
  exchange.host = "stock.example";
  exchange.target = "/items?sig=abc";
  return exchange;
}

Span encoded(const HttpExchange& exchange) {
  HttpSpanEncoder encoder;
  Span span;
  EXPECT_TRUE(span.ParseFromString(std::string(encoder.encode(exchange, kWallMinusBoot))));
  return span;
}

std::map<std::string, std::string> attributes_of(const Span& span) {
  std::map<std::string, std::string> result;
  for (const auto& attribute : span.attributes()) {
    const auto& value = attribute.value();
    result[attribute.key()] =
        value.has_int_value() ? std::to_string(value.int_value()) : value.string_value();
  }
  return result;
}

TEST(HttpSpan, CarriesEveryRequiredAttributeOfAServer) {
  const Span span = encoded(server_exchange());

  EXPECT_EQ(span.name(), "GET");
  EXPECT_EQ(span.kind(), Span::SPAN_KIND_SERVER);
  EXPECT_EQ(span.start_time_unix_nano(), kWallMinusBoot + 1'000u);
  EXPECT_EQ(span.end_time_unix_nano(), kWallMinusBoot + 5'000u);
  EXPECT_EQ(span.trace_id().size(), 16u);
  EXPECT_EQ(span.span_id(), std::string("\1\2\3\4\5\6\7\10"));
  EXPECT_EQ(span.parent_span_id(), std::string("\0\xf0\x67\xaa\x0b\xa9\x02\xb7", 8));
  EXPECT_EQ(span.flags(), 0x301u);
  EXPECT_EQ(span.status().code(), Status::STATUS_CODE_UNSET);
  const std::map<std::string, std::string> expected = {
      {"http.request.method", "GET"},
      {"url.scheme", "http"},
      {"url.path", "/cart/7"},
      {"url.query", "page=2&token=REDACTED"},
      {"server.address", "shop.example"},
      {"server.port", "8080"},
      {"network.peer.address", "10.0.203.9"},
      {"network.peer.port", "51234"},
      {"client.address", "10.0.203.9"},
      {"network.protocol.version", "1.1"},
      {"user_agent.original", "curl/8.1"},
      {"http.response.status_code", "200"},
      {"http.response.body.size", "312"},
      {"sonde.capture", "socket"},
  };
  EXPECT_EQ(attributes_of(span), expected);
}

TEST(HttpSpan, CarriesEveryRequiredAttributeOfAClient) {
  HttpExchange exchange = client_exchange();
  exchange.resend_count = 1;

  const Span span = encoded(exchange);

  EXPECT_EQ(span.kind(), Span::SPAN_KIND_CLIENT);
  const auto attributes = attributes_of(span);
  EXPECT_THAT(attributes, Contains(Pair("url.full", "http://stock.example/items?sig=REDACTED")));
  EXPECT_THAT(attributes, Contains(Pair("server.address", "stock.example")));
  EXPECT_THAT(attributes, Contains(Pair("server.port", "80")));
  EXPECT_THAT(attributes, Contains(Pair("http.request.resend_count", "1")));
  EXPECT_THAT(attributes, Contains(Pair("sonde.capture", "function")));
  EXPECT_THAT(attributes, Not(Contains(Key("client.address"))));
}

TEST(HttpSpan, RootHasNoParentAndItsOwnFlags) {
  HttpExchange exchange = server_exchange();
  exchange.parent_span_id = {};
  exchange.parent_is_remote = false;
  exchange.trace_flags = 0;

  const Span span = encoded(exchange);

  EXPECT_EQ(span.parent_span_id(), "");
  EXPECT_EQ(span.flags(), 1u);
}

TEST(HttpSpan, StripsCredentialsFromAddresses) {
  HttpExchange exchange = client_exchange();
  exchange.target = "http://user:pass@proxy.example:3128/x";

  const auto attributes = attributes_of(encoded(exchange));

  EXPECT_THAT(
      attributes, Contains(Pair("url.full", "http://REDACTED:REDACTED@proxy.example:3128/x")));
  EXPECT_THAT(attributes, Contains(Pair("server.address", "proxy.example")));
  EXPECT_THAT(attributes, Contains(Pair("server.port", "3128")));
}

TEST(HttpSpan, CallsAnUnknownMethodOther) {
  HttpExchange exchange = server_exchange();
  exchange.method = "BREW";

  const Span span = encoded(exchange);

  EXPECT_EQ(span.name(), "HTTP");
  EXPECT_THAT(attributes_of(span), Contains(Pair("http.request.method", "_OTHER")));
  EXPECT_THAT(attributes_of(span), Contains(Pair("http.request.method_original", "BREW")));
}

TEST(HttpSpan, ServerErrsFrom500AndClientFrom400) {
  HttpExchange server = server_exchange(), client = client_exchange();
  server.status = client.status = 404;
  EXPECT_EQ(encoded(server).status().code(), Status::STATUS_CODE_UNSET);
  EXPECT_EQ(encoded(client).status().code(), Status::STATUS_CODE_ERROR);
  EXPECT_THAT(attributes_of(encoded(client)), Contains(Pair("error.type", "404")));

  server.status = 503;
  EXPECT_EQ(encoded(server).status().code(), Status::STATUS_CODE_ERROR);
  EXPECT_THAT(attributes_of(encoded(server)), Contains(Pair("error.type", "503")));
}

TEST(HttpSpan, EveryBrokenOutcomeIsAnErrorOfItsOwnType) {
  const std::map<Outcome, std::string> types = {
      {Outcome::kPanic, "panic"},
      {Outcome::kAbort, "aborted"},
      {Outcome::kHijack, "hijacked"},
      {Outcome::kDisconnect, "disconnected"},
      {Outcome::kTimeout, "timeout"},
      {Outcome::kReset, "connection_reset"},
      {Outcome::kRefused, "connection_refused"},
      {Outcome::kUnresolved, "name_not_resolved"},
      {Outcome::kUnreached, "connection_failed"}};
  for (const auto& [outcome, type] : types) {
    HttpExchange exchange = server_exchange();
    exchange.outcome = outcome;
    exchange.status = 0;
    const Span span = encoded(exchange);
    EXPECT_EQ(span.status().code(), Status::STATUS_CODE_ERROR) << type;
    EXPECT_NE(span.status().message(), "") << type;
    EXPECT_THAT(attributes_of(span), Contains(Pair("error.type", type)));
    EXPECT_THAT(attributes_of(span), Not(Contains(Key("http.response.status_code"))));
  }
}

TEST(HttpSpan, ACallWithoutAConnectionNamesItsServerAndNoProtocol) {
  HttpExchange exchange = client_exchange();
  exchange.outcome = Outcome::kRefused;
  exchange.status = 0;
  exchange.connected = false;
  exchange.peer = {};
  exchange.host = "stock.example:8081";

  const auto attributes = attributes_of(encoded(exchange));

  EXPECT_THAT(
      attributes, Contains(Pair("url.full", "http://stock.example:8081/items?sig=REDACTED")));
  EXPECT_THAT(attributes, Contains(Pair("server.address", "stock.example")));
  EXPECT_THAT(attributes, Contains(Pair("server.port", "8081")));
  EXPECT_THAT(attributes, Contains(Pair("error.type", "connection_refused")));
  EXPECT_THAT(attributes, Not(Contains(Key("network.peer.address"))));
  EXPECT_THAT(attributes, Not(Contains(Key("network.protocol.version"))));
}

TEST(HttpSpan, AClientThatGaveUpIsNoError) {
  HttpExchange exchange = client_exchange();
  exchange.outcome = Outcome::kCancel;
  exchange.status = 0;

  const Span span = encoded(exchange);

  EXPECT_EQ(span.status().code(), Status::STATUS_CODE_UNSET);
  EXPECT_THAT(attributes_of(span), Not(Contains(Key("error.type"))));
  EXPECT_THAT(attributes_of(span), Contains(Pair("sonde.outcome", "canceled")));

  exchange.status = 200; // it gave up in the middle of the answer
  EXPECT_THAT(attributes_of(encoded(exchange)), Contains(Pair("sonde.outcome", "canceled")));
  EXPECT_THAT(attributes_of(encoded(exchange)), Contains(Pair("http.response.status_code", "200")));
  EXPECT_THAT(attributes_of(encoded(client_exchange())), Not(Contains(Key("sonde.outcome"))));
}

TEST(HttpSpan, LeavesOutASizeThatIsNotExact) {
  HttpExchange exchange = server_exchange();
  exchange.response_body_exact = false;

  EXPECT_THAT(attributes_of(encoded(exchange)), Not(Contains(Key("http.response.body.size"))));
}

TEST(HttpSpan, SaysWhatAPanicSaid) {
  HttpExchange exchange = server_exchange();
  exchange.outcome = Outcome::kPanic;
  exchange.error = "index out of range [7]";

  EXPECT_EQ(encoded(exchange).status().message(), "index out of range [7]");
}

TEST(HttpSpan, WithoutAHostNamesTheSocket) {
  HttpExchange exchange = server_exchange();
  exchange.version_minor = 0;
  exchange.host = "";

  const auto attributes = attributes_of(encoded(exchange));

  EXPECT_THAT(attributes, Contains(Pair("server.address", "10.0.0.1")));
  EXPECT_THAT(attributes, Contains(Pair("server.port", "8080")));
  EXPECT_THAT(attributes, Contains(Pair("network.protocol.version", "1.0")));
}

TEST(HttpSpan, WritesIPv6AsPeopleDo) {
  HttpExchange exchange = server_exchange();
  exchange.peer = {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16, 443};
  exchange.host = "[2001:db8::2]:8443";

  const auto attributes = attributes_of(encoded(exchange));

  EXPECT_THAT(attributes, Contains(Pair("network.peer.address", "2001:db8::1")));
  EXPECT_THAT(attributes, Contains(Pair("server.address", "2001:db8::2")));
  EXPECT_THAT(attributes, Contains(Pair("server.port", "8443")));
}

TEST(HttpSpan, HostileTextsStayBoundedAndReadable) {
  HttpExchange exchange = server_exchange();
  for (std::string* text :
       {&exchange.method, &exchange.host, &exchange.user_agent, &exchange.error, &exchange.target})
    text->assign(100'000, '\xff');
  exchange.outcome = Outcome::kPanic;

  const Span server = encoded(exchange);
  exchange.side = Side::kClient;
  exchange.target = "/?" + std::string(50'000, '=');
  const Span client = encoded(exchange);

  EXPECT_LT(server.ByteSizeLong() + client.ByteSizeLong(), 100'000u);
}

TEST(HttpSpan, BehindAProxyTheTargetNamesTheServer) {
  HttpExchange exchange = client_exchange();
  exchange.host = "proxy.example:3128";
  exchange.peer = {{10, 0, 0, 5}, 4, 3128};
  exchange.target = "http://user:pw@stock.example:8081/items?sig=abc";

  auto attributes = attributes_of(encoded(exchange));
  EXPECT_EQ(
      attributes["url.full"], "http://REDACTED:REDACTED@stock.example:8081/items?sig=REDACTED");
  EXPECT_EQ(attributes["server.address"], "stock.example");
  EXPECT_EQ(attributes["server.port"], "8081");
  EXPECT_EQ(attributes["network.peer.address"], "10.0.0.5");
  EXPECT_EQ(attributes["network.peer.port"], "3128");

  exchange.target = "http://stock.example/";
  EXPECT_EQ(attributes_of(encoded(exchange))["server.port"], "80");

  exchange.target = "HTTPS://[::1]/items"; // a proxy that speaks TLS for us
  attributes = attributes_of(encoded(exchange));
  EXPECT_EQ(attributes["url.full"], "https://[::1]/items");
  EXPECT_EQ(attributes["server.address"], "::1");
  EXPECT_EQ(attributes["server.port"], "443");

  exchange.side = Side::kServer; // the proxy itself
  exchange.target = "https://stock.example/items?page=2";
  attributes = attributes_of(encoded(exchange));
  EXPECT_EQ(attributes["url.scheme"], "https");
  EXPECT_EQ(attributes["url.path"], "/items");
  EXPECT_EQ(attributes["url.query"], "page=2");
  EXPECT_EQ(attributes["server.address"], "stock.example");
}

TEST(HttpSpan, ATunnelIsAskedForByItsEnd) {
  HttpExchange exchange = client_exchange();
  exchange.host = "proxy.example:3128";
  exchange.method = "CONNECT";
  exchange.target = "stock.example:443";

  auto attributes = attributes_of(encoded(exchange));
  EXPECT_EQ(attributes["url.full"], "http://stock.example:443");
  EXPECT_EQ(attributes["server.address"], "stock.example");
  EXPECT_EQ(attributes["server.port"], "443");

  exchange.side = Side::kServer;
  attributes = attributes_of(encoded(exchange));
  EXPECT_THAT(attributes, Contains(Pair("url.path", "")));
  EXPECT_EQ(attributes["server.port"], "443");
}

TEST(HttpSpan, AskingTheServerItselfNamesNoPath) {
  HttpExchange exchange = client_exchange();
  exchange.method = "OPTIONS";
  exchange.target = "*";

  EXPECT_EQ(attributes_of(encoded(exchange))["url.full"], "http://stock.example");
}

TEST(HttpSpan, SplitsEveryFormOfTarget) {
  EXPECT_EQ(split_target("GET", "/a?b?c").query, "b?c");
  EXPECT_EQ(split_target("GET", "http://h:1?x").path, "/");
  EXPECT_EQ(split_target("OPTIONS", "*").path, "*");
  EXPECT_EQ(split_target("CONNECT", "h:443").authority, "h:443");
  EXPECT_EQ(split_target("GET", "").path, "/");
  EXPECT_EQ(split_host("h:99999").port, 0);
  EXPECT_EQ(split_host("[::1").host, "");
  EXPECT_EQ(split_host("").host, "");
}

} // namespace
} // namespace agent::telemetry
