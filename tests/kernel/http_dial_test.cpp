// Calls of a real net/http that get no connection: refused, unresolved, too late; and those that
// get one all the same.
#include "base/fd.h"
#include "tests/kernel/captured_process.h"
#include "tests/kernel/raw_client.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>

namespace kernel_test {
namespace {

using agent::event::HttpExchange;
using agent::event::Outcome;
using agent::event::Side;
using testing::HasSubstr;

constexpr std::array<uint8_t, 8> kNone{};

// A port of this host that answers as the test wants.
class Port {
 public:
  enum class Answer : uint8_t { kRefuse, kIgnore };

  explicit Port(Answer answer) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto address = loopback(0);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_.get(), any, size), 0);
    EXPECT_EQ(getsockname(socket_.get(), any, &size), 0);
    number_ = ntohs(address.sin_port);
    // Bound and not listening, it refuses; with its queue full, it does not answer.
    if (answer == Answer::kIgnore) fill();
  }
  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(number_) + path;
  }
  uint16_t number() const { return number_; }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void fill() {
    EXPECT_EQ(listen(socket_.get(), 0), 0);
    const auto address = loopback(number_);
    for (int i = 0; i < 4; ++i) {
      auto& one =
          waiting_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      static_cast<void>(
          connect(one.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
    }
  }

  base::Fd socket_;
  uint16_t number_ = 0;
  std::vector<base::Fd> waiting_;
};

struct Program {
  const char* version;
  const char* name;
};

class HttpDialTest : public testing::TestWithParam<Program> {
 protected:
  void SetUp() override {
    const auto [version, name] = GetParam();
    if (auto why = why_no_bpf()) GTEST_SKIP() << *why;
    if (auto why = programs::why_absent(version, name); !why.empty()) GTEST_SKIP() << why;
    const auto path = programs::path_of(version, name);
    auto started = CapturedProcess::start(path, {.client = true});
    ASSERT_TRUE(started.ok()) << started.error().message;
    captured = std::move(started).take();
    auto other = programs::RunningProgram::start(path, {"-quiet"});
    ASSERT_TRUE(other.ok());
    backend = std::make_unique<programs::RunningProgram>(std::move(other).take());
  }
  bool has_parent_goid() const {
    const std::string version = GetParam().version;
    return version != "1.17" && version != "1.19";
  }
  std::string backend_url(const std::string& path) const {
    return "http://" + backend->address() + path;
  }
  // Asks the traced program to call, and returns what it captured: the calls first, then the
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

TEST_P(HttpDialTest, TellsARefusedCallInFullAndWhoseItIs) {
  const Port port(Port::Answer::kRefuse);

  const auto all = call("/call?method=POST&bytes=9&url=" + port.url("/a%2520b?x=1"));

  ASSERT_EQ(all.size(), 2U) << answer;
  const auto& client = all[0];
  const auto& server = all[1];
  ASSERT_EQ(client.side, Side::kClient);
  ASSERT_EQ(server.side, Side::kServer);
  EXPECT_EQ(client.outcome, Outcome::kRefused);
  EXPECT_EQ(client.error, "connect: Connection refused");
  EXPECT_EQ(client.method, "POST");
  EXPECT_EQ(client.target, "/a%20b?x=1");
  EXPECT_EQ(client.host, "127.0.0.1:" + std::to_string(port.number()));
  EXPECT_EQ(client.status, 0);
  EXPECT_FALSE(client.connected);
  EXPECT_EQ(client.pid, captured->pid());
  EXPECT_THAT(answer, HasSubstr("\"goid\":" + std::to_string(client.goid)));
  EXPECT_EQ(client.trace_id, server.trace_id);
  EXPECT_EQ(client.parent_span_id, server.span_id);
  EXPECT_NE(client.span_id, server.span_id);
  EXPECT_EQ(client.randomness, server.randomness);
  EXPECT_GE(client.start_ns, server.start_ns);
  EXPECT_GT(client.end_ns, client.start_ns);
  EXPECT_LE(client.end_ns, server.end_ns);
}

TEST_P(HttpDialTest, TellsANameThatDoesNotResolve) {
  const auto all = call("/call?url=http://no..such..host/x");

  ASSERT_EQ(all.size(), 2U) << answer;
  EXPECT_EQ(all[0].outcome, Outcome::kUnresolved);
  EXPECT_EQ(all[0].error, "no such host");
  EXPECT_EQ(all[0].host, "no..such..host");
  EXPECT_EQ(all[0].method, "GET");
  EXPECT_EQ(all[0].parent_span_id, all[1].span_id);
}

TEST_P(HttpDialTest, TellsADeadlineThatPassesBeforeThereIsAConnection) {
  const Port port(Port::Answer::kIgnore);

  const auto of_call = call("/call?ms=200&url=" + port.url("/"));
  const auto of_dialer = call("/call-dial?dialms=200&url=" + port.url("/"));
  const auto canceled = call("/call-cancel?ms=200&url=" + port.url("/"));

  for (const auto* all : {&of_call, &of_dialer, &canceled}) {
    ASSERT_EQ(all->size(), 2U) << answer;
    EXPECT_EQ(all->front().side, Side::kClient);
    EXPECT_EQ(all->front().parent_span_id, all->back().span_id);
    // The deadline is set a little before the call begins.
    EXPECT_GE(all->front().end_ns - all->front().start_ns, 190'000'000U);
    EXPECT_LE(all->front().end_ns - all->front().start_ns, 2'000'000'000U);
  }
  EXPECT_EQ(of_call[0].outcome, Outcome::kTimeout);
  EXPECT_EQ(of_dialer[0].outcome, Outcome::kTimeout);
  EXPECT_EQ(of_dialer[0].method, "PUT");
  EXPECT_EQ(canceled[0].outcome, Outcome::kCancel);
}

// Two timers run for one deadline, and which error comes depends on the one that is first. The
// names of two Go versions are never in one program.
TEST_P(HttpDialTest, KnowsTheTypesOfEveryTimeout) {
  const auto& types = captured->plan().config.timeout_types;
  const auto absent = std::count(std::begin(types), std::end(types), 0U);

  EXPECT_EQ(std::size(types) - static_cast<size_t>(absent), 4U);
}

// The kernel reads only what is in memory, and the type of an error may be touched for the first
// time with this very error.
TEST_P(HttpDialTest, TellsAnErrorWhoseTypeIsNotInMemory) {
  struct Case {
    const char* error;
    Outcome outcome;
    const char* sentence;
  };
  for (const auto& [error, outcome, sentence] : std::initializer_list<Case>{
           {"timeout", Outcome::kTimeout, "the deadline passed before there was a connection"},
           {"canceled", Outcome::kCancel, "context canceled"},
           {"text", Outcome::kUnreached, "the dialer does not like it"},
           {"refused", Outcome::kRefused, "connect: Connection refused"},
           {"wrapped", Outcome::kRefused, "connect: Connection refused"},
           {"name", Outcome::kUnresolved, "no such host"}}) {
    const auto all = call(std::string("/call-absent-error?url=http://shop/x&error=") + error);

    ASSERT_EQ(all.size(), 2U) << error << ": " << answer;
    EXPECT_EQ(all[0].outcome, outcome) << error;
    EXPECT_EQ(all[0].error, sentence) << error;
    EXPECT_EQ(all[0].host, "shop");
    EXPECT_EQ(all[0].parent_span_id, all[1].span_id);
  }
}

TEST_P(HttpDialTest, TellsEveryAttemptOnceAlsoOfManyGoroutines) {
  const Port port(Port::Answer::kRefuse);

  const auto many = call("/call-many?n=20&url=" + port.url("/"), 21);
  const auto child = call("/call-child?url=" + port.url("/"));
  const auto redirected = call("/call?url=" + backend_url("/redirect?to=" + port.url("/gone")), 3);

  ASSERT_EQ(many.size(), 21U);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(many[i].outcome, Outcome::kRefused);
  ASSERT_EQ(child.size(), 2U);
  EXPECT_EQ(child[0].parent_span_id, has_parent_goid() ? child[1].span_id : kNone);
  ASSERT_EQ(redirected.size(), 3U) << answer;
  EXPECT_EQ(redirected[0].status, 302);
  EXPECT_EQ(redirected[1].outcome, Outcome::kRefused);
  EXPECT_EQ(redirected[1].target, "/gone");
  EXPECT_EQ(redirected[1].resend_count, 1U);
}

TEST_P(HttpDialTest, AddsNothingToACallThatGetsItsConnection) {
  for (int i = 0; i < 3; ++i) {
    const auto fresh = call("/call-dial?dialms=5000&url=" + backend_url("/fast"));
    const auto kept = call("/call?url=" + backend_url("/fast"));
    for (const auto* all : {&fresh, &kept}) {
      ASSERT_EQ(all->size(), 2U) << answer;
      EXPECT_EQ(all->front().status, 200);
      EXPECT_TRUE(all->front().connected);
    }
  }
  // Some of them dial while a connection becomes idle, and take that.
  const auto many = call("/call-many?n=40&url=" + backend_url("/fast"), 41);

  ASSERT_EQ(many.size(), 41U);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(many[i].status, 200);
  EXPECT_EQ(captured->use().losses.count("BYTES_UNREADABLE"), 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Go, HttpDialTest,
    testing::Values(
        Program{"1.17", "server"}, Program{"1.17", "server-stripped"}, Program{"1.19", "server"},
        Program{"1.22", "server-stripped"}, Program{"1.24", "server"}, Program{"1.26", "server"},
        Program{"1.26", "server-pie"}, Program{"1.27", "server-stripped"}),
    [](const testing::TestParamInfo<Program>& test) {
      std::string name = std::string("Go") + test.param.version + test.param.name;
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '.' || c == '-'; }, '_');
      return name;
    });

} // namespace
} // namespace kernel_test
