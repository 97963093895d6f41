#include "agent/event/dial_error.h"

#include "agent/event/http_stitcher.h"
#include "agent/event/limits.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace agent::event {
namespace {

TEST(DialError, IsACallWithoutAnAnswer) {
  const auto call = exchange_of(
      {.time_ns = 900,
       .tgid = 7,
       .call_ns = 100,
       .goid = 5,
       .parent_goid = 4,
       .cause = DIAL_ERRNO,
       .error = ECONNREFUSED,
       .host = "shop:80",
       .path = "/cart",
       .query = "page=2"});

  EXPECT_EQ(call.side, Side::kClient);
  EXPECT_EQ(call.outcome, Outcome::kRefused);
  EXPECT_EQ(call.error, "connect: Connection refused");
  EXPECT_EQ(call.method, "GET");
  EXPECT_EQ(call.target, "/cart?page=2");
  EXPECT_EQ(call.host, "shop:80");
  EXPECT_EQ(call.start_ns, 100U);
  EXPECT_EQ(call.end_ns, 900U);
  EXPECT_EQ(call.status, 0);
  EXPECT_FALSE(call.connected);
}

TEST(DialError, NamesItsCause) {
  const auto outcome = [](dial_cause cause, int error = 0, std::string_view message = {}) {
    return exchange_of({.cause = cause, .error = error, .message = message}).outcome;
  };

  EXPECT_EQ(outcome(DIAL_ERRNO, ENETUNREACH), Outcome::kUnreached);
  EXPECT_EQ(outcome(DIAL_ERRNO, ETIMEDOUT), Outcome::kTimeout);
  EXPECT_EQ(outcome(DIAL_NAME, 0, "no such host"), Outcome::kUnresolved);
  EXPECT_EQ(outcome(DIAL_TIMEOUT), Outcome::kTimeout);
  EXPECT_EQ(outcome(DIAL_OTHER, 0, "context canceled"), Outcome::kCancel);
  EXPECT_EQ(outcome(DIAL_OTHER), Outcome::kUnreached);
}

TEST(DialError, WritesTheTargetAsTheRequestLineWouldHave) {
  const auto target = [](std::string_view path, bool escaped = false) {
    return exchange_of({.path = path, .path_is_escaped = escaped}).target;
  };

  EXPECT_EQ(target(""), "/");
  EXPECT_EQ(target("/a b/\xc3\xa9?"), "/a%20b/%C3%A9%3F");
  EXPECT_EQ(target("/a%2Fb", true), "/a%2Fb");
  EXPECT_LE(target(std::string(kTargetBytesMax, ' ')).size(), kTargetBytesMax);
}

TEST(DialError, OutsideARequestIsARoot) {
  std::vector<HttpExchange> exchanges;
  HttpStitcher stitcher(1, [&](const HttpExchange& exchange) { exchanges.push_back(exchange); });

  stitcher.take(DialError{.time_ns = 2, .tgid = 7, .call_ns = 1, .goid = 5, .host = "shop"});

  ASSERT_EQ(exchanges.size(), 1U);
  EXPECT_EQ(exchanges[0].parent_span_id, decltype(exchanges[0].parent_span_id){});
  EXPECT_NE(exchanges[0].trace_id, decltype(exchanges[0].trace_id){});
  EXPECT_EQ(stitcher.statistics().exchanges, 1U);
}

} // namespace
} // namespace agent::event
