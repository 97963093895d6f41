#include "base/seldom.h"

#include <gtest/gtest.h>

namespace base {
namespace {

using namespace std::chrono_literals;

TEST(Seldom, LetsOneThroughPerInterval) {
  Seldom seldom(10s);
  const auto start = Seldom::SteadyClock::now();

  EXPECT_TRUE(seldom.now(start));
  EXPECT_FALSE(seldom.now(start));
  EXPECT_FALSE(seldom.now(start + 9s));
  EXPECT_TRUE(seldom.now(start + 10s));
  EXPECT_FALSE(seldom.now(start + 11s));
}

} // namespace
} // namespace base
