#include "agent/app/event_thread.h"

#include <gtest/gtest.h>

namespace agent::app {
namespace {

plan::SessionShare share(const std::string& id, uint64_t threshold, bool server, bool client) {
  plan::SessionShare share;
  share.session_id = id;
  share.sampling.threshold = threshold;
  share.server = server;
  share.client = client;
  return share;
}

TEST(Views, GatherTheProcessesOfASession) {
  probe::Traced traced;
  traced[1] = {share("a", 10, true, false), share("b", 0, true, true)};
  traced[2] = {share("a", 5, true, true)};

  auto views = views_of(traced);

  ASSERT_EQ(views.size(), 2U);
  EXPECT_EQ(views[0].session_id, "a");
  EXPECT_EQ(views[0].pids, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(views[0].threshold, 5U);
  EXPECT_TRUE(views[0].client);
  EXPECT_EQ(views[1].pids, std::vector<uint32_t>{1});
}

TEST(Views, OfNothingAreNone) { EXPECT_TRUE(views_of({}).empty()); }

} // namespace
} // namespace agent::app
