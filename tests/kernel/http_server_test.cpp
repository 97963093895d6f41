// Server exchanges of a real net/http, as the real programs see them: every field.
#include "tests/kernel/captured_process.h"
#include "tests/kernel/raw_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

namespace kernel_test {
namespace {

using namespace std::chrono_literals;
using agent::event::HttpExchange;
using agent::event::Outcome;
using agent::event::Side;
using testing::HasSubstr;
using testing::StartsWith;

// A Go version and how it was linked.
struct Build {
  const char* version;
  const char* program = "server";
};

class HttpServerTest : public testing::TestWithParam<Build> {
 protected:
  void SetUp() override {
    if (auto why = why_no_bpf()) GTEST_SKIP() << *why;
    const auto& [version, program] = GetParam();
    if (auto why = programs::why_absent(version, program); !why.empty()) GTEST_SKIP() << why;
    start();
  }
  void start(const CaptureOptions& options = {}) {
    captured.reset();
    auto started = CapturedProcess::start(path(), options);
    ASSERT_TRUE(started.ok()) << started.error().message;
    captured = std::move(started).take();
  }
  static std::string path() { return programs::path_of(GetParam().version, GetParam().program); }
  // Before Go 1.21 the server reads a body to its end before it answers.
  static bool has_full_duplex() {
    const std::string version = GetParam().version;
    return version != "1.17" && version != "1.19";
  }
  // The one exchange that these bytes make.
  HttpExchange only_exchange() {
    const auto& all = captured->wait_for(1);
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? HttpExchange{} : all.front();
  }
  std::unique_ptr<CapturedProcess> captured;
};

TEST_P(HttpServerTest, CapturesEveryFieldOfAPlainRequest) {
  start({.hop_key = true});
  RawClient client(captured->port());
  const auto before = base::SystemClock().boot_time().count();

  const auto goid = client.ask(get("/goid?secret=1", "User-Agent: probe/1\r\n"));

  const auto exchange = only_exchange();
  const auto after = base::SystemClock().boot_time().count();
  EXPECT_EQ(exchange.side, Side::kServer);
  EXPECT_EQ(exchange.outcome, Outcome::kComplete);
  EXPECT_EQ(exchange.pid, captured->pid());
  EXPECT_EQ(std::to_string(exchange.goid), goid.substr(goid.find("\r\n\r\n") + 4));
  EXPECT_GT(exchange.start_ns, static_cast<uint64_t>(before));
  EXPECT_GE(exchange.answer_ns, exchange.start_ns);
  EXPECT_GE(exchange.end_ns, exchange.answer_ns);
  EXPECT_LT(exchange.end_ns, static_cast<uint64_t>(after));
  EXPECT_EQ(exchange.method, "GET");
  EXPECT_EQ(exchange.target, "/goid?secret=1");
  EXPECT_EQ(exchange.version_minor, 1);
  EXPECT_EQ(exchange.host, "test");
  EXPECT_EQ(exchange.user_agent, "probe/1");
  EXPECT_EQ(exchange.status, 200);
  EXPECT_EQ(exchange.request_body_bytes, 0U);
  EXPECT_EQ(exchange.response_body_bytes, std::to_string(exchange.goid).size());
  EXPECT_EQ(exchange.local.port, captured->port());
  EXPECT_EQ(exchange.local.address_bytes, 4);
  EXPECT_EQ(exchange.local.address[0], 127);
  EXPECT_EQ(exchange.peer.port, client.local_port());
  EXPECT_EQ(exchange.peer.address[3], 1);
  EXPECT_TRUE(exchange.hop_key);
  EXPECT_EQ(exchange.error, "");
  EXPECT_FALSE(exchange.parent_is_remote);
  EXPECT_NE(exchange.span_id, decltype(exchange.span_id){});
  EXPECT_NE(exchange.trace_id, decltype(exchange.trace_id){});
  EXPECT_EQ(exchange.parent_span_id, decltype(exchange.span_id){});
}

TEST_P(HttpServerTest, HonoursTraceparentWhereverTheHeaderStands) {
  RawClient client(captured->port());
  std::string fillers;
  for (int i = 0; i < 11; ++i)
    fillers += "X-Filler-" + std::to_string(i) + ": " + std::string(80, 'f') + "\r\n";

  client.ask(get(
      "/fast", fillers + "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
                         "tracestate: vendor=x\r\n"));

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.trace_id[0], 0x0a);
  EXPECT_EQ(exchange.trace_id[15], 0x9c);
  EXPECT_EQ(exchange.parent_span_id[7], 0x31);
  EXPECT_TRUE(exchange.parent_is_remote);
  EXPECT_EQ(exchange.trace_flags, 1);
  EXPECT_EQ(exchange.tracestate, "vendor=x");
}

TEST_P(HttpServerTest, KeepAliveConnectionsGiveOneExchangeARequest) {
  RawClient client(captured->port());

  for (int i = 0; i < 50; ++i) client.ask(get("/bytes?n=" + std::to_string(i)));

  const auto& all = captured->wait_for(50);
  ASSERT_EQ(all.size(), 50U);
  std::set<std::array<uint8_t, 8>> spans;
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].target, "/bytes?n=" + std::to_string(i));
    EXPECT_EQ(all[i].response_body_bytes, i);
    EXPECT_EQ(all[i].goid, all[0].goid);
    if (i > 0) {
      EXPECT_GE(all[i].start_ns, all[i - 1].end_ns);
    }
    spans.insert(all[i].span_id);
  }
  EXPECT_EQ(spans.size(), 50U);
}

TEST_P(HttpServerTest, CountsBodiesBothWays) {
  RawClient client(captured->port());
  for (size_t bytes : {size_t{1}, size_t{100}, size_t{9000}, size_t{200'000}})
    client.ask(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(bytes) +
        "\r\n\r\n" + std::string(bytes, 'p'));

  const auto& all = captured->wait_for(4);
  ASSERT_EQ(all.size(), 4U);
  for (size_t i = 0; const size_t bytes : {1U, 100U, 9000U, 200'000U}) {
    EXPECT_EQ(all[i].method, "POST");
    EXPECT_EQ(all[i].status, 200);
    EXPECT_EQ(all[i].request_body_bytes, bytes);
    EXPECT_TRUE(all[i].request_body_exact);
    EXPECT_EQ(all[i].response_body_bytes, bytes);
    EXPECT_TRUE(all[i].response_body_exact);
    ++i;
  }
}

TEST_P(HttpServerTest, ReadsAHeadThatComesByteByByteAndOneOfEightKilobytes) {
  RawClient client(captured->port());
  for (char c : get("/fast?slowly")) {
    client.send({&c, 1});
    std::this_thread::sleep_for(200us);
  }
  client.read_until("ok\n");
  client.ask(
      get("/fast?large", "X-Large: " + std::string(7900, 'l') + "\r\nUser-Agent: behind/1\r\n"));

  const auto& all = captured->wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].target, "/fast?slowly");
  EXPECT_EQ(all[0].status, 200);
  EXPECT_EQ(all[1].target, "/fast?large");
  EXPECT_EQ(all[1].user_agent, "behind/1");
}

TEST_P(HttpServerTest, InventsNothingFromAHeadThatIsTooLong) {
  RawClient client(captured->port());
  client.ask(get("/fast?huge", "X-Huge: " + std::string(20'000, 'h') + "\r\n"));
  client.ask(get("/fast?next"));

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.target, "/fast?next");
  EXPECT_EQ(captured->counts().heads_truncated, 1U);
}

TEST_P(HttpServerTest, FollowsChunkedBodies) {
  RawClient client(captured->port());
  client.send(get("/chunked?n=7&bytes=11&ms=2"));
  client.read_until("0\r\n\r\n");
  client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    client.send("a\r\n0123456789\r\n");
    std::this_thread::sleep_for(1ms);
  }
  client.ask("0\r\n\r\n");

  const auto& all = captured->wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].response_body_bytes, 77U);
  EXPECT_TRUE(all[0].response_body_exact);
  EXPECT_GE(all[0].end_ns - all[0].answer_ns, 10'000'000U);
  EXPECT_EQ(all[1].request_body_bytes, 50U);
  EXPECT_TRUE(all[1].request_body_exact);
  EXPECT_EQ(all[1].response_body_bytes, 50U);
}

TEST_P(HttpServerTest, KnowsTheSizeOfALongChunk) {
  RawClient client(captured->port());
  client.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n");
  client.ask(std::string(50'000, 'x') + "\r\n0\r\n\r\n");

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.request_body_bytes, 50'000U);
  EXPECT_TRUE(exchange.request_body_exact);
}

TEST_P(HttpServerTest, FindsTheEndOfLongChunkedAnswers) {
  RawClient client(captured->port());
  client.send(get("/chunked?n=40&bytes=5000&ms=0"));
  client.read_until("0\r\n\r\n");
  client.ask(get("/fast"));

  const auto& all = captured->wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].target, "/chunked?n=40&bytes=5000&ms=0");
  EXPECT_EQ(all[0].outcome, Outcome::kComplete);
  EXPECT_GE(all[0].response_body_bytes, 200'000U);
  EXPECT_LT(all[0].response_body_bytes, 202'000U);
  EXPECT_EQ(all[1].target, "/fast");
}

TEST_P(HttpServerTest, SeesThroughInterimAnswers) {
  RawClient client(captured->port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 16\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  // A body that looks like a request is a body.
  client.ask("GET / HTTP/1.1\r\n");

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.target, "/echo");
  EXPECT_EQ(exchange.status, 200);
  EXPECT_EQ(exchange.request_body_bytes, 16U);
  EXPECT_EQ(exchange.response_body_bytes, 16U);
}

TEST_P(HttpServerTest, FollowsBodiesAndAnswersThatInterleave) {
  RawClient client(captured->port());
  client.send("POST /interleave HTTP/1.1\r\nHost: test\r\nContent-Length: 30\r\n\r\n0123456789");
  if (has_full_duplex()) client.read_until("0123456789");
  client.send("GET / HTTP");
  if (has_full_duplex()) client.read_until("GET / HTTP");
  client.send("0123456789");
  client.read_until("0\r\n\r\n");

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.target, "/interleave");
  EXPECT_EQ(exchange.request_body_bytes, 30U);
  if (has_full_duplex()) {
    EXPECT_EQ(exchange.response_body_bytes, 30U);
  }
}

TEST_P(HttpServerTest, SeparatesPipelinedRequests) {
  RawClient client(captured->port());
  std::string requests;
  for (int i = 0; i < 10; ++i) requests += get("/bytes?n=" + std::to_string(100 + i));
  client.send(requests + get("/close"));
  client.read_to_end();

  const auto& all = captured->wait_for(11);
  ASSERT_EQ(all.size(), 11U);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(all[i].target, "/bytes?n=" + std::to_string(100 + i));
    EXPECT_EQ(all[i].response_body_bytes, 100 + i);
    EXPECT_EQ(all[i].status, 200);
  }
  EXPECT_EQ(all[10].target, "/close");
}

TEST_P(HttpServerTest, KnowsAnswersWithoutABody) {
  RawClient client(captured->port());
  client.send("HEAD /bytes?n=500 HTTP/1.1\r\nHost: test\r\n\r\n");
  client.read_until("\r\n\r\n");
  client.send(get("/status?code=204"));
  client.read_until("\r\n\r\n");
  client.send(get("/status?code=304"));
  client.read_until("\r\n\r\n");
  client.ask(get("/status?code=503"));

  const auto& all = captured->wait_for(4);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].method, "HEAD");
  EXPECT_EQ(all[0].status, 200);
  EXPECT_EQ(all[1].status, 204);
  EXPECT_EQ(all[2].status, 304);
  EXPECT_EQ(all[3].status, 503);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(all[i].response_body_bytes, 0U);
}

TEST_P(HttpServerTest, SpeaksHttp10) {
  RawClient client(captured->port());
  client.send("GET /chunked?n=3&bytes=10 HTTP/1.0\r\n\r\n");
  client.read_to_end();

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.version_minor, 0);
  EXPECT_EQ(exchange.outcome, Outcome::kComplete);
  EXPECT_EQ(exchange.status, 200);
  EXPECT_EQ(exchange.response_body_bytes, 30U);
}

TEST_P(HttpServerTest, EndsAnUpgradeAtItsAnswerAndReadsNoFurther) {
  RawClient client(captured->port());
  client.send(get("/upgrade", "Connection: Upgrade\r\nUpgrade: echo\r\n"));
  client.read_until("\r\n\r\n");
  client.send("GET /not-a-request HTTP/1.1\r\n");
  client.read_until("HTTP/1.1\r\n");
  client.close();

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.status, 101);
  EXPECT_EQ(exchange.outcome, Outcome::kComplete);
}

TEST_P(HttpServerTest, CountsWhatSendfileSends) {
  RawClient client(captured->port());
  client.ask(get("/file?n=300000"));
  client.ask(get("/fast"));

  const auto& all = captured->wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].status, 200);
  EXPECT_EQ(all[0].response_body_bytes, 300'000U);
  EXPECT_TRUE(all[0].response_body_exact);
  EXPECT_EQ(all[1].target, "/fast");
}

TEST_P(HttpServerTest, TellsPanicsAbortsHijacksAndDisconnectsApart) {
  struct Case {
    std::string target;
    Outcome outcome;
    int status;
    std::string error;
  };
  const std::vector<Case> cases = {
      {"/panic", Outcome::kPanic, 0, "boom"},
      {"/panic-error", Outcome::kPanic, 0, "wrapped: unexpected EOF"},
      {"/panic-after-write", Outcome::kPanic, 200, "boom after write"},
      {"/abort", Outcome::kAbort, 0, "net/http: abort Handler"},
      {"/hijack-silent", Outcome::kHijack, 0, "hijacked: closed without an answer"},
      {"/hijack", Outcome::kComplete, 200, ""},
      {"/recover", Outcome::kComplete, 200, ""},
  };
  for (const auto& [target, outcome, status, error] : cases) {
    SCOPED_TRACE(target);
    captured->clear();
    RawClient client(captured->port());
    client.send(get(target, "Connection: close\r\n"));
    client.read_to_end();
    client.close();

    const auto exchange = only_exchange();
    EXPECT_EQ(exchange.target, target);
    EXPECT_EQ(exchange.outcome, outcome);
    EXPECT_EQ(exchange.status, status);
    EXPECT_EQ(exchange.error, error);
  }
}

TEST_P(HttpServerTest, TellsThatTheClientLeft) {
  for (const bool with_reset : {false, true}) {
    SCOPED_TRACE(with_reset);
    captured->clear();
    RawClient client(captured->port());
    client.send(
        "POST /echo HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.read_until("\r\n\r\n"); // the handler waits for the body
    with_reset ? client.reset() : client.close();

    const auto exchange = only_exchange();
    EXPECT_EQ(exchange.target, "/echo");
    EXPECT_EQ(exchange.outcome, Outcome::kDisconnect);
    EXPECT_THAT(exchange.error, HasSubstr("client"));
  }
}

TEST_P(HttpServerTest, EndsWhatAKilledProcessLeftOpen) {
  RawClient client(captured->port());
  client.send(get("/chunked?n=10000&ms=50"));
  client.read_until("cccccccccc");
  captured->program().kill(SIGKILL);
  client.read_to_end();

  const auto exchange = only_exchange();
  EXPECT_EQ(exchange.outcome, Outcome::kDisconnect);
  EXPECT_EQ(exchange.error, "the process ended");
}

TEST_P(HttpServerTest, RecordsEveryPanicOfTwoHundred) {
  for (int i = 0; i < 200; ++i) {
    RawClient client(captured->port());
    client.send(get("/panic"));
    client.read_to_end();
  }

  const auto& all = captured->wait_for(200);
  ASSERT_EQ(all.size(), 200U);
  for (const auto& exchange : all) {
    EXPECT_EQ(exchange.outcome, Outcome::kPanic);
    EXPECT_EQ(exchange.error, "boom");
  }
}

TEST_P(HttpServerTest, DoesNothingPastTheDeadline) {
  RawClient client(captured->port());
  client.ask(get("/fast?before"));
  ASSERT_EQ(captured->wait_for(1).size(), 1U);
  ASSERT_TRUE(captured
                  ->configure([](process_config& config) {
                    config.deadline_ns =
                        static_cast<uint64_t>(base::SystemClock().boot_time().count());
                  })
                  .ok());
  const auto cost = captured->use().cost;

  client.ask(get("/fast?after"));
  captured->poll();

  EXPECT_EQ(captured->exchanges().size(), 1U);
  EXPECT_EQ(captured->use().cost.cpu, cost.cpu);
}

TEST_P(HttpServerTest, LeavesOthersAlone) {
  auto other = programs::RunningProgram::start(path());
  ASSERT_TRUE(other.ok());
  RawClient(other->port()).ask(get("/fast"));
  RawClient(captured->port()).ask(get("/fast"));

  EXPECT_EQ(only_exchange().pid, captured->pid());
}

TEST_P(HttpServerTest, SamplesByRatioAndKeepsWhatReachesTheThreshold) {
  start({.ratio = 0.25});
  RawClient client(captured->port());
  for (int i = 0; i < 2000; ++i) client.ask(get("/fast"));

  const auto& all = captured->wait_for(400);
  EXPECT_GT(all.size(), 400U);
  EXPECT_LT(all.size(), 600U);
  for (const auto& exchange : all) {
    EXPECT_EQ(exchange.threshold, agent::plan::threshold_of(0.25));
    EXPECT_GE(exchange.randomness, exchange.threshold);
  }
  EXPECT_EQ(captured->use().losses["SAMPLED_OUT"], 2000 - all.size());
}

TEST_P(HttpServerTest, LimitsByRate) {
  start({.spans_per_second = 20});
  RawClient client(captured->port());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) client.ask(get("/fast"));
  const auto took = std::chrono::steady_clock::now() - begin;

  const auto& all = captured->wait_for(20);
  EXPECT_GE(all.size(), 20U);
  EXPECT_LE(all.size(), 22U + static_cast<size_t>(20 * (took / 1s + 1)));
  EXPECT_EQ(captured->use().losses["RATE_LIMITED"], 500 - all.size());
}

std::string build_name(const testing::TestParamInfo<Build>& info) {
  std::string name = "Go" + std::string(info.param.version) + "_" + info.param.program;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(
    Go, HttpServerTest,
    testing::Values(
        Build{"1.17", "server-stripped"}, Build{"1.19"}, Build{"1.22", "server-stripped"},
        Build{"1.24"}, Build{"1.26"}, Build{"1.26", "server-pie"},
        Build{"1.27", "server-stripped"}),
    build_name);

} // namespace
} // namespace kernel_test
