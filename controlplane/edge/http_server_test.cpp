// The HTTP server on real sockets: what it bears, and what it does not.
#include "controlplane/edge/http_server.h"

#include "sonde/v1/result_service.pb.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace controlplane::edge {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

constexpr auto kDeadline = 30s;
// More than the kernel buffers on both sides take from a server whose peer does not read.
constexpr size_t kMoreThanSocketsHold = 64 << 20;

// An endless stream of spans, as large as asked.
class SpanSource final : public StreamSource {
 public:
  explicit SpanSource(size_t name_bytes) : name_bytes_(name_bytes) {}
  base::Result<StreamBatch> poll() override {
    auto event = std::make_unique<sonde::v1::TailSessionResponse>();
    event->set_event_id(std::to_string(++events_));
    event->mutable_span()->set_name(std::string(name_bytes_, 's'));
    StreamBatch batch;
    batch.messages.push_back(std::move(event));
    return batch;
  }

 private:
  const size_t name_bytes_;
  int events_ = 0;
};

class EchoHandler final : public HttpHandler {
 public:
  std::optional<HttpReply> at_once(const HttpRequest& request) override {
    if (request.path == "/healthz") return HttpReply{200, "text/plain", "ok\n", {}};
    return std::nullopt;
  }
  HttpAnswer serve(const HttpRequest& request) override {
    ++served;
    if (request.path == "/large")
      return HttpReply{200, "text/plain", std::string(kMoreThanSocketsHold, 'x'), {}};
    if (request.path == "/stream")
      return HttpStream{std::make_unique<SpanSource>(10), request.path, "r"};
    if (request.path == "/flood")
      return HttpStream{std::make_unique<SpanSource>(1 << 20), request.path, "r"};
    return HttpReply{
        200,
        "text/plain",
        request.verb + " " + request.path + " " + request.query + " " + request.body + " " +
            request.credentials.authorization,
        {}};
  }
  std::atomic<int> served = 0;
};

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    auto started = HttpServer::start(std::move(options), handler_, workers_, metrics_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_ = std::move(*started);
  }
  tcp::socket connect() {
    tcp::socket socket(io_);
    socket.connect({asio::ip::make_address("127.0.0.1"), server_->port()});
    return socket;
  }
  // Sends, and reads until the server closes.
  std::string exchange(const std::string& bytes) {
    auto socket = connect();
    return exchange(socket, bytes);
  }
  static std::string exchange(tcp::socket& socket, const std::string& bytes) {
    boost::system::error_code error;
    asio::write(socket, asio::buffer(bytes), error);
    std::string answer;
    asio::read(socket, asio::dynamic_buffer(answer), error);
    return answer;
  }
  std::string metrics() {
    MetricsWriter writer;
    metrics_.write(writer);
    return writer.take();
  }
  template <class Condition> static bool eventually(Condition condition) {
    auto end = std::chrono::steady_clock::now() + kDeadline;
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(5ms);
    return condition();
  }

  EchoHandler handler_;
  CallMetrics metrics_;
  Workers workers_{2, 16};
  asio::io_context io_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, HandsOverWhatWasSent) {
  start();

  auto answer = exchange("POST /v1/x%20y?a=b HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
                         "t\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");

  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(answer, testing::EndsWith("POST /v1/x%20y a=b body Bearer t"));
}

TEST_F(HttpServerTest, KeepsConnectionsAndAnswersPipelinedRequestsInOrder) {
  start();

  auto answer = exchange("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET "
                         "/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");

  auto one = answer.find("GET /1"), two = answer.find("GET /2"), three = answer.find("GET /3");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos);
}

TEST_F(HttpServerTest, AnswersHeadWithoutBodyAndHttp10WithAClose) {
  start();

  auto head = exchange("HEAD /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  auto old = exchange("GET /x HTTP/1.0\r\n\r\n");

  EXPECT_THAT(head, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(head, testing::EndsWith("\r\n\r\n"));
  EXPECT_THAT(old, StartsWith("HTTP/1.0 200 OK"));
}

TEST_F(HttpServerTest, SaysContinueToThoseWhoWait) {
  start();

  auto answer = exchange("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
                         "2\r\nConnection: close\r\n\r\nhi");

  EXPECT_THAT(answer, StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"));
}

TEST_F(HttpServerTest, RefusesHeadersAndBodiesThatAreTooLarge) {
  start();

  auto header = exchange("GET / HTTP/1.1\r\nX: " + std::string(kHeaderBytesMax, 'a') + "\r\n\r\n");
  auto body = exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n");

  EXPECT_THAT(header, StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(header, HasSubstr("Connection: close"));
  EXPECT_THAT(body, StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(handler_.served, 0);
}

TEST_F(HttpServerTest, ClosesOnASlowWriterOfHeaders) {
  HttpServerOptions options;
  options.timeouts.header = 100ms;
  start(options);
  auto begin = std::chrono::steady_clock::now();

  auto answer = exchange("GET / HTTP/1.1\r\nHos");

  EXPECT_EQ(answer, "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kDeadline);
  // The socket closes a moment before it is counted.
  const std::string counted = R"(sonde_edge_refused_total{reason="REQUEST_TIMEOUT"} 1)";
  EXPECT_TRUE(eventually([&] { return metrics().find(counted) != std::string::npos; }))
      << metrics();
}

TEST_F(HttpServerTest, ClosesOnASlowReaderOfAnAnswerAndOfAStream) {
  HttpServerOptions options;
  options.timeouts.write = 200ms;
  start(options);
  auto answer = connect();
  auto stream = connect();

  asio::write(answer, asio::buffer(std::string("GET /large HTTP/1.1\r\nHost: h\r\n\r\n")));
  asio::write(stream, asio::buffer(std::string("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")));

  const std::string both = R"(sonde_edge_refused_total{reason="SLOW_READER"} 2)";
  EXPECT_TRUE(eventually([&] { return metrics().find(both) != std::string::npos; })) << metrics();
  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 0; }));
  EXPECT_TRUE(eventually([&] { return server_->stats().streams == 0; }));
}

TEST_F(HttpServerTest, AStreamEndsWhenItsReaderIsGone) {
  start();
  {
    auto stream = connect();
    asio::write(stream, asio::buffer(std::string("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")));
    std::string text;
    asio::read_until(stream, asio::dynamic_buffer(text), "id: 2\n");
    EXPECT_THAT(text, HasSubstr("id: 1\nevent: span\ndata: {\"eventId\":\"1\""));
    EXPECT_EQ(server_->stats().streams, 1U);
  }

  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpServerTest, TakesSoManyConnectionsAndNoMore) {
  HttpServerOptions options;
  options.connections_max = 2;
  start(options);
  auto first = connect();
  auto second = connect();
  ASSERT_TRUE(eventually([&] { return server_->stats().connections == 2; }));

  EXPECT_EQ(exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "");

  EXPECT_THAT(metrics(), HasSubstr(R"(sonde_edge_refused_total{reason="TOO_MANY_CONNECTIONS"} 1)"));
}

TEST_F(HttpServerTest, DrainsIdleConnectionsAtOnceAndStreamsWithAWord) {
  start();
  auto idle = connect();
  auto stream = connect();
  asio::write(stream, asio::buffer(std::string("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")));
  ASSERT_TRUE(eventually([&] { return server_->stats().streams == 1; }));

  server_->drain();

  EXPECT_EQ(exchange(idle, ""), "");
  EXPECT_THAT(exchange(stream, ""), HasSubstr("SHUTTING_DOWN"));
  EXPECT_TRUE(eventually([&] { return server_->stats().connections == 0; }));
}

TEST_F(HttpServerTest, SpeaksPlaintextOnLoopbackOnly) {
  HttpServerOptions options;
  options.address = "0.0.0.0";

  auto started = HttpServer::start(options, handler_, workers_, metrics_);

  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().reason, "PLAINTEXT_ON_NETWORK");
}

TEST_F(HttpServerTest, SaysWhichAddressIsTaken) {
  start();
  HttpServerOptions options;
  options.port = server_->port();

  auto started = HttpServer::start(options, handler_, workers_, metrics_);

  ASSERT_FALSE(started.ok());
  EXPECT_EQ(started.error().reason, "ADDRESS_UNUSABLE");
  EXPECT_THAT(started.error().message, HasSubstr(std::to_string(options.port)));
}

} // namespace
} // namespace controlplane::edge
