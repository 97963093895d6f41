#include "base/clock.h"
#include "base/hex.h"
#include "base/queue.h"
#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <thread>

namespace base {
namespace {

Result<int> parse_digit(char c) {
  if (c < '0' || c > '9') return invalid_argument("NOT_A_DIGIT", std::string(1, c));
  return c - '0';
}
Result<int> sum(std::string_view text) {
  int total = 0;
  for (char c : text) total += TRY(parse_digit(c));
  return total;
}

TEST(Result, TryUnwrapsAValueAndReturnsTheFirstError) {
  EXPECT_EQ(sum("123").value(), 6);

  auto failed = sum("1x").context("sum");

  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, Code::kInvalidArgument);
  EXPECT_EQ(failed.error().reason, "NOT_A_DIGIT");
  EXPECT_EQ(failed.error().message, "sum: x");
}

TEST(Result, CarriesMoveOnlyValues) {
  auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(4); };

  EXPECT_EQ(*make().take(), 4);
}

TEST(Error, NamesTheSystemCallAndMapsErrno) {
  auto error = errno_error("open /nowhere", ENOENT);

  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_EQ(error.message, "open /nowhere: No such file or directory");
}

TEST(Queue, RefusesTheNewestWhenFullAndCountsIt) {
  Queue<int> queue(2);

  EXPECT_TRUE(queue.push(1));
  EXPECT_TRUE(queue.push(2));
  EXPECT_FALSE(queue.push(3));

  EXPECT_EQ(queue.dropped(), 1U);
  EXPECT_EQ(queue.pop(), 1);
}

TEST(Queue, DrainsAfterCloseAndThenEnds) {
  Queue<int> queue(4);
  queue.push(7);
  queue.close();

  EXPECT_EQ(queue.pop(), 7);
  EXPECT_EQ(queue.pop(), std::nullopt);
  EXPECT_FALSE(queue.push(8));
}

TEST(Queue, WakesAWaitingConsumer) {
  Queue<int> queue(1);
  std::jthread producer([&] { queue.push(9); });

  EXPECT_EQ(queue.pop(), 9);
}

TEST(Hex, RoundTripsAndRefusesWhatIsNotHex) {
  EXPECT_EQ(to_hex(std::string("\x00\xff\x1a", 3)), "00ff1a");
  EXPECT_EQ(from_hex("00FF1a").value(), std::string("\x00\xff\x1a", 3));
  EXPECT_EQ(from_hex("0").error().reason, "INVALID_HEX");
  EXPECT_EQ(from_hex("zz").error().reason, "INVALID_HEX");
}

TEST(Hex, HashesAsPublished) {
  EXPECT_EQ(
      to_hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hex, UuidsAreVersionFourAndDistinct) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(new_uuid());

  EXPECT_EQ(seen.size(), 100U);
  EXPECT_EQ(seen.begin()->size(), 36U);
  EXPECT_EQ((*seen.begin())[14], '4');
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  auto before = clock.boot_time();
  clock.advance(std::chrono::seconds(2));

  EXPECT_EQ(clock.boot_time() - before, std::chrono::seconds(2));
}

} // namespace
} // namespace base
