#include "controlplane/model/session_state.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace controlplane::model;
using sonde::v1::Session;

const std::vector<SessionState> kAll{Session::SCHEDULED, Session::STARTING,  Session::ACTIVE,
                                     Session::STOPPING,  Session::SUCCEEDED, Session::FAILED,
                                     Session::CANCELLED, Session::EXPIRED};

TEST(SessionState, NeverLeavesAFinalState) {
  for (SessionState from : kAll)
    for (SessionState to : kAll)
      EXPECT_FALSE(is_final(from) && may_become(from, to)) << from << " to " << to;
}

TEST(SessionState, NeverGoesBack) {
  EXPECT_FALSE(may_become(Session::ACTIVE, Session::STARTING));
  EXPECT_FALSE(may_become(Session::STOPPING, Session::ACTIVE));
  EXPECT_FALSE(may_become(Session::ACTIVE, Session::ACTIVE));
}

TEST(SessionState, FinalizesBeforeItSucceedsOrExpires) {
  for (SessionState from : {Session::SCHEDULED, Session::STARTING, Session::ACTIVE}) {
    EXPECT_TRUE(may_become(from, Session::STOPPING));
    EXPECT_TRUE(may_become(from, Session::CANCELLED));
    EXPECT_FALSE(may_become(from, Session::SUCCEEDED));
    EXPECT_FALSE(may_become(from, Session::EXPIRED));
  }
  EXPECT_TRUE(may_become(Session::STOPPING, Session::SUCCEEDED));
  EXPECT_TRUE(may_become(Session::STOPPING, Session::CANCELLED));
}

TEST(NextStep, StartsWithTheFirstHostAndIsActiveWithTheFirstProbe) {
  SessionProgress now{.state = Session::SCHEDULED};
  EXPECT_EQ(next_step(now, {}).state, Session::SCHEDULED);
  now.hosts = now.waiting = 2;
  EXPECT_EQ(next_step(now, {}).state, Session::STARTING);
  now.active = 1;
  now.waiting = 1;
  EXPECT_EQ(next_step(now, {}).state, Session::ACTIVE);
}

TEST(NextStep, FailsOnlyWhenEveryHostRefused) {
  SessionProgress now{.state = Session::STARTING, .hosts = 2, .waiting = 1, .refused = 1};
  EXPECT_EQ(next_step(now, {}).state, Session::STARTING);
  now.waiting = 0;
  now.refused = 2;
  SessionStep step = next_step(now, {});
  EXPECT_EQ(step.state, Session::STOPPING);
  EXPECT_EQ(step.ending, Session::FAILED);
}

TEST(NextStep, EndsAsExpiredWhenItsTimeIsOver) {
  SessionProgress now{.state = Session::ACTIVE, .expired = true, .hosts = 1, .active = 1};
  SessionStep stopping = next_step(now, {});
  EXPECT_EQ(stopping.state, Session::STOPPING);

  now.state = Session::STOPPING;
  EXPECT_EQ(next_step(now, stopping.ending).state, Session::STOPPING) << "a probe is still at work";
  now.active = 0;
  EXPECT_EQ(next_step(now, stopping.ending).state, Session::EXPIRED);
}

TEST(NextStep, DoesNotWaitForeverForHostsThatAreGone) {
  SessionProgress now{.state = Session::STOPPING, .stop_timed_out = true, .hosts = 3, .waiting = 1};

  SessionStep step = next_step(now, Session::SUCCEEDED);

  EXPECT_EQ(step.state, Session::SUCCEEDED);
  EXPECT_EQ(step.detail, "1 of 3 hosts did not confirm the end");
}

} // namespace
