// Many requests at once: each is an exchange, and what is lost is counted.
#include "tests/kernel/bpf_objects.h"
#include "tests/kernel/captured_process.h"
#include "tests/kernel/raw_client.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <set>
#include <thread>

namespace kernel_test {
namespace {

using namespace std::chrono_literals;
using agent::event::HttpExchange;
using agent::event::Outcome;

class HttpLoadTest : public testing::Test {
 protected:
  void SetUp() override {
    if (auto why = why_no_bpf()) GTEST_SKIP() << *why;
  }
  void start(
      const std::string& version, const std::string& program, const CaptureOptions& options = {}) {
    if (auto why = programs::why_absent(version, program); !why.empty()) GTEST_SKIP() << why;
    auto started = CapturedProcess::start(programs::path_of(version, program), options);
    ASSERT_TRUE(started.ok()) << started.error().message;
    captured = std::move(started).take();
  }
  // Sends `requests` over `connections` at once and returns how many were answered with 200.
  uint64_t ask(int connections, int requests, const std::function<void()>& meanwhile) {
    std::atomic<uint64_t> answered = 0;
    std::atomic<int> running = connections;
    std::vector<std::jthread> threads;
    for (int i = 0; i < connections; ++i)
      threads.emplace_back([&] {
        RawClient client(captured->port());
        for (int k = 0; k < requests / connections; ++k)
          if (client.ask(get("/bytes?n=10")).starts_with("HTTP/1.1 200")) ++answered;
        --running;
      });
    while (running > 0) meanwhile();
    for (auto& thread : threads) thread.join();
    return answered;
  }
  std::unique_ptr<CapturedProcess> captured;
};

TEST_F(HttpLoadTest, CapturesEveryRequestOneAtATimeAndTwoHundredAtOnce) {
  for (const int connections : {1, 200}) {
    SCOPED_TRACE(connections);
    std::vector<std::array<uint8_t, 8>> spans;
    spans.reserve(200'000);
    uint64_t wrong = 0;
    auto check = [&](const HttpExchange& exchange) {
      spans.push_back(exchange.span_id);
      wrong += exchange.status != 200 || exchange.response_body_bytes != 10 || exchange.goid == 0;
    };
    start("1.26", "server", {.sink = check});
    if (IsSkipped()) return;

    // The reader must keep up on a machine that does other things too.
    setpriority(PRIO_PROCESS, 0, -15);
    const uint64_t answered = ask(connections, 100'000, [&] { captured->poll(50ms); });
    setpriority(PRIO_PROCESS, 0, 0);
    EXPECT_TRUE(eventually(20s, [&] {
      captured->poll();
      return spans.size() >= 100'000;
    }));

    EXPECT_EQ(answered, 100'000U);
    EXPECT_EQ(spans.size(), 100'000U);
    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(captured->use().losses, (std::map<std::string, uint64_t>{}));
    EXPECT_EQ(std::set(spans.begin(), spans.end()).size(), spans.size());
  }
}

TEST_F(HttpLoadTest, CountsWhatAFullRingLosesAndInventsNothing) {
  start("1.26", "server");
  if (IsSkipped()) return;
  // Nobody reads: 4 MiB hold some 3,000 exchanges.
  const uint64_t answered = ask(50, 20'000, [] { std::this_thread::sleep_for(20ms); });
  ASSERT_EQ(answered, 20'000U);

  const auto during = captured->wait_for(1).size();
  const auto lost = captured->use().losses["RING_FULL"];
  EXPECT_GT(lost, 10'000U);
  EXPECT_LT(during, 20'000U);
  // Each request that is not there was lost at its head, or with its answer.
  const auto counts = captured->counts();
  EXPECT_LE(20'000U - during, lost + counts.exchanges_incomplete);
  for (const auto& exchange : captured->exchanges()) {
    EXPECT_EQ(exchange.outcome, Outcome::kComplete);
    EXPECT_EQ(exchange.status, 200);
    EXPECT_EQ(exchange.response_body_bytes, 10U);
  }

  // And from here on everything is seen again.
  captured->clear();
  EXPECT_EQ(ask(10, 1000, [&] { captured->poll(50ms); }), 1000U);
  EXPECT_EQ(captured->wait_for(1000).size(), 1000U);
}

TEST_F(HttpLoadTest, BelievesNoRegisterOfAForeignThread) {
  start("1.26", "callbacks", {.arguments = {}});
  if (IsSkipped()) return;
  const std::string line = captured->program().first_line();
  const auto port_by_c = static_cast<uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
  ASSERT_NE(port_by_c, captured->port()) << line;

  // Go's own goroutine, on a thread of its own.
  RawClient(captured->port()).ask(get("/fast"));
  // Read and written by C, which left something else in r14.
  RawClient by_c(port_by_c);
  by_c.send(get("/by-c"));
  by_c.read_to_end();

  const auto& all = captured->wait_for(2);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].target, "/fast");
  EXPECT_NE(all[0].goid, 0U);
  EXPECT_EQ(all[1].target, "/by-c");
  EXPECT_EQ(all[1].goid, 0U);
  EXPECT_EQ(all[1].status, 200);
  EXPECT_EQ(captured->use().losses["GOROUTINE_UNKNOWN"], 1U);
}

TEST_F(HttpLoadTest, CapturesMultipathTcpWithoutAHopKey) {
  start("1.26", "mptcp", {.client = true, .hop_key = true, .arguments = {}});
  if (IsSkipped()) return;
  const bool multipath = captured->program().first_line().ends_with("mptcp");

  RawClient(captured->port()).ask(get("/self"));

  auto all = captured->wait_for(3);
  ASSERT_EQ(all.size(), 3U);
  for (const auto& exchange : all) EXPECT_EQ(exchange.status, 200);
  const auto call = std::find_if(all.begin(), all.end(), [](const HttpExchange& exchange) {
    return exchange.side == agent::event::Side::kClient;
  });
  ASSERT_NE(call, all.end());
  EXPECT_EQ(call->hop_key, !multipath);
  EXPECT_EQ(call->target, "/fast");
}

} // namespace
} // namespace kernel_test
