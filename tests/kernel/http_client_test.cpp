// Client exchanges of a real net/http: status, errors, and whose child they are.
#include "tests/kernel/captured_process.h"
#include "tests/kernel/raw_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

namespace kernel_test {
namespace {

using namespace std::chrono_literals;
using agent::event::HttpExchange;
using agent::event::Outcome;
using agent::event::Side;
using testing::HasSubstr;

class HttpClientTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (auto why = why_no_bpf()) GTEST_SKIP() << *why;
    if (auto why = programs::why_absent(GetParam(), "server"); !why.empty()) GTEST_SKIP() << why;
    start({.client = true});
    auto started =
        programs::RunningProgram::start(programs::path_of(GetParam(), "server"), {"-quiet"});
    ASSERT_TRUE(started.ok());
    backend = std::make_unique<programs::RunningProgram>(std::move(started).take());
  }
  void start(const CaptureOptions& options) {
    captured.reset();
    auto started = CapturedProcess::start(programs::path_of(GetParam(), "server"), options);
    ASSERT_TRUE(started.ok()) << started.error().message;
    captured = std::move(started).take();
  }
  bool has_parent_goid() const {
    const std::string version = GetParam();
    return version != "1.17" && version != "1.19";
  }
  std::string url(const std::string& path) const { return "http://" + backend->address() + path; }
  // Asks the traced program to call, and returns what it captured: the call first, then the
  // request.
  std::vector<HttpExchange> call(const std::string& target, size_t count = 2) {
    RawClient client(captured->port());
    answer = client.ask(get(target, "Connection: close\r\n"));
    auto all = captured->wait_for(count);
    std::stable_sort(
        all.begin(), all.end(), [](const auto& a, const auto& b) { return a.side > b.side; });
    captured->clear();
    return all;
  }

  std::unique_ptr<CapturedProcess> captured;
  std::unique_ptr<programs::RunningProgram> backend;
  std::string answer;
};

TEST_P(HttpClientTest, CapturesEveryFieldOfACallAndItsParent) {
  const auto all = call("/call?method=POST&bytes=300&url=" + url("/echo"));

  ASSERT_EQ(all.size(), 2U);
  const auto& client = all[0];
  const auto& server = all[1];
  ASSERT_EQ(client.side, Side::kClient);
  ASSERT_EQ(server.side, Side::kServer);
  EXPECT_EQ(client.outcome, Outcome::kComplete);
  EXPECT_EQ(client.pid, captured->pid());
  EXPECT_EQ(client.method, "POST");
  EXPECT_EQ(client.target, "/echo");
  EXPECT_EQ(client.host, backend->address());
  EXPECT_EQ(client.status, 200);
  EXPECT_EQ(client.request_body_bytes, 300U);
  EXPECT_EQ(client.response_body_bytes, 300U);
  EXPECT_EQ(client.peer.port, backend->port());
  EXPECT_EQ(client.peer.address[0], 127);
  EXPECT_THAT(client.user_agent, HasSubstr("Go-http-client"));
  EXPECT_GE(client.start_ns, server.start_ns);
  EXPECT_GE(client.answer_ns, client.start_ns);
  EXPECT_LE(client.end_ns, server.end_ns);
  EXPECT_THAT(answer, HasSubstr("\"goid\":" + std::to_string(client.goid)));
  EXPECT_EQ(client.goid, server.goid);
  EXPECT_EQ(client.trace_id, server.trace_id);
  EXPECT_EQ(client.parent_span_id, server.span_id);
  EXPECT_NE(client.span_id, server.span_id);
  EXPECT_EQ(client.randomness, server.randomness);
  EXPECT_FALSE(client.parent_is_remote);
}

TEST_P(HttpClientTest, FollowsTheGoroutineThatAHandlerStarts) {
  const auto all = call("/call-child?url=" + url("/fast"));

  ASSERT_EQ(all.size(), 2U);
  EXPECT_NE(all[0].goid, all[1].goid);
  if (!has_parent_goid()) {
    EXPECT_EQ(all[0].parent_span_id, decltype(all[0].parent_span_id){});
    return;
  }
  EXPECT_EQ(all[0].parent_goid, all[1].goid);
  EXPECT_EQ(all[0].trace_id, all[1].trace_id);
  EXPECT_EQ(all[0].parent_span_id, all[1].span_id);
}

TEST_P(HttpClientTest, TellsCallsOfManyGoroutinesApart) {
  const auto all = call("/call-many?n=8&url=" + url("/slow?ms=20"), 9);

  ASSERT_EQ(all.size(), 9U);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(all[i].side, Side::kClient);
    EXPECT_EQ(all[i].status, 200);
    EXPECT_GE(all[i].end_ns - all[i].start_ns, 20'000'000U);
    if (has_parent_goid()) {
      EXPECT_EQ(all[i].parent_span_id, all[8].span_id);
    }
  }
}

TEST_P(HttpClientTest, ReusesConnectionsAndKeepsCallsApart) {
  RawClient client(captured->port());
  for (int i = 0; i < 30; ++i)
    client.ask(get("/call?url=" + url("/status?code=" + std::to_string(400 + i))));

  const auto& all = captured->wait_for(60);
  ASSERT_EQ(all.size(), 60U);
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(all[2 * i].side, Side::kClient);
    EXPECT_EQ(all[2 * i].status, 400 + static_cast<int>(i));
    EXPECT_EQ(all[2 * i].parent_span_id, all[2 * i + 1].span_id);
  }
}

// Go's memory of a connection that has ended is soon that of another one.
TEST_P(HttpClientTest, RecordsEveryCallWhenEachHasAConnectionOfItsOwn) {
  constexpr size_t kCalls = 500;
  RawClient client(captured->port());
  for (size_t i = 0; i < kCalls; ++i) client.ask(get("/call?url=" + url("/close")));

  const auto& all = captured->wait_for(2 * kCalls);
  ASSERT_EQ(all.size(), 2 * kCalls);
  const auto calls = std::count_if(all.begin(), all.end(), [](const auto& exchange) {
    return exchange.side == Side::kClient && exchange.status == 200;
  });
  EXPECT_EQ(calls, static_cast<ptrdiff_t>(kCalls));
  for (const auto& call : all) {
    if (call.side != Side::kClient) continue;
    EXPECT_EQ(
        std::count_if(
            all.begin(), all.end(),
            [&](const auto& other) {
              return other.side == Side::kServer && other.span_id == call.parent_span_id;
            }),
        1);
  }
}

TEST_P(HttpClientTest, RecordsARedirectAsTwoCalls) {
  const auto all = call("/call?url=" + url("/redirect?to=/fast"), 3);

  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].status, 302);
  EXPECT_EQ(all[0].resend_count, 0U);
  EXPECT_EQ(all[1].status, 200);
  EXPECT_EQ(all[1].target, "/fast");
  EXPECT_EQ(all[1].resend_count, 1U);
  EXPECT_EQ(all[0].parent_span_id, all[2].span_id);
  EXPECT_EQ(all[1].parent_span_id, all[2].span_id);
}

TEST_P(HttpClientTest, TellsATimeoutFromACancelFromAReset) {
  const auto timeout = call("/call?ms=300&url=" + url("/slow?ms=3000"));
  ASSERT_EQ(timeout.size(), 2U);
  EXPECT_EQ(timeout[0].outcome, Outcome::kTimeout);
  EXPECT_EQ(timeout[0].status, 0);

  const auto cancel = call("/call-cancel?ms=300&url=" + url("/slow?ms=3000"));
  ASSERT_EQ(cancel.size(), 2U);
  EXPECT_EQ(cancel[0].outcome, Outcome::kCancel);
  EXPECT_EQ(cancel[0].error, "context canceled");

  const auto reset = call("/call?method=POST&bytes=1&url=" + url("/abort"));
  ASSERT_EQ(reset.size(), 2U);
  EXPECT_EQ(reset[0].outcome, Outcome::kReset);
  EXPECT_NE(reset[0].error, "");
}

TEST_P(HttpClientTest, InheritsTheDecisionOfTheRequest) {
  start({.ratio = 0.5, .client = true});
  RawClient client(captured->port());
  const std::string target = has_parent_goid() ? "/call-child?url=" : "/call?url=";
  for (int i = 0; i < 300; ++i) client.ask(get(target + url("/fast")));

  const auto& all = captured->wait_for(200);
  const auto servers =
      std::count_if(all.begin(), all.end(), [](const auto& e) { return e.side == Side::kServer; });
  EXPECT_GT(servers, 100);
  EXPECT_LT(servers, 200);
  EXPECT_EQ(all.size(), 2 * static_cast<size_t>(servers));
  for (const auto& exchange : all)
    if (exchange.side == Side::kClient) {
      EXPECT_NE(exchange.parent_span_id, decltype(exchange.parent_span_id){});
    }
}

TEST_P(HttpClientTest, RecordsCallsOutsideARequestAsRoots) {
  start({.server = false, .client = true});
  // The program's own handler makes the call, but requests are followed all the same: the parent is
  // known.
  const auto all = call("/call?url=" + url("/fast"));

  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].side, Side::kClient);
}

std::string version_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  name.replace(name.find('.'), 1, "_");
  return "Go" + name;
}
INSTANTIATE_TEST_SUITE_P(
    Go, HttpClientTest, testing::Values("1.17", "1.19", "1.22", "1.26", "1.27"), version_name);

} // namespace
} // namespace kernel_test
