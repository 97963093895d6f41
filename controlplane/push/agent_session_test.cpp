#include "controlplane/push/agent_session.h"

#include "controlplane/push/fake_agent.h"
#include "controlplane/push/ticker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace controlplane::push {
namespace {

using namespace std::chrono_literals;
using sonde::v1::AssignmentStatus;
using testing::ElementsAre;

class Session : public testing::Test {
 protected:
  void set_desired(std::initializer_list<std::pair<std::string, std::string>> sessions) {
    agent.session->set_desired(desired(sessions, clock.wall_time() + 1h));
  }
  base::ManualClock clock;
  RecordingListener listener;
  Counters counters;
  FakeAgent agent{"agent-1", listener, clock, counters};
};

TEST_F(Session, SaysNothingBeforeHelloAndDesiredState) {
  set_desired({{"s1", "v1"}});
  EXPECT_TRUE(agent.sent.empty());

  agent.say_hello();

  ASSERT_EQ(agent.sent.size(), 1u);
  EXPECT_EQ(agent.sent[0].delta().assignments(0).key().name(), "s1");
  EXPECT_EQ(agent.sent[0].delta().leases(0).duration().seconds(), 30);
}

TEST_F(Session, TellsAnAnswerAfterItsQuestionAlsoWhenItOvertakes) {
  agent.say_hello();
  listener.before_next = [&] {
    std::jthread([&] { agent.ack(1, "s1", "v1", AssignmentStatus::ACTIVE); }).join();
  };

  set_desired({{"s1", "v1"}});

  EXPECT_THAT(
      listener.history("s1"), ElementsAre(AssignmentStatus::SENT, AssignmentStatus::ACTIVE));
}

TEST_F(Session, KeepsOneUnsentDeltaAndTheNewestReplacesIt) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  set_desired({{"s1", "v2"}, {"s2", "v1"}});
  set_desired({{"s3", "v1"}});
  set_desired({{"s1", "v3"}});
  ASSERT_EQ(agent.sent.size(), 1u);

  agent.finish_write();

  ASSERT_EQ(agent.sent.size(), 2u);
  const auto& delta = agent.sent[1].delta();
  EXPECT_EQ(delta.assignments_size(), 1);
  EXPECT_EQ(delta.assignments(0).version(), "v3");
  EXPECT_EQ(delta.removed_size(), 0);
  agent.finish_write();
  EXPECT_EQ(agent.sent.size(), 3u) << "the leases that Hello asked for";
  EXPECT_TRUE(agent.sent[2].has_lease_refresh());
}

TEST_F(Session, ResumesFromTheVersionsThatAreHeld) {
  agent.say_hello({{"s1", "v1"}, {"s2", "v1"}, {"gone", "v1"}});

  set_desired({{"s1", "v1"}, {"s2", "v2"}});

  const auto& delta = agent.sent.at(0).delta();
  ASSERT_EQ(delta.assignments_size(), 1);
  EXPECT_EQ(delta.assignments(0).key().name(), "s2");
  ASSERT_EQ(delta.removed_size(), 1);
  EXPECT_EQ(delta.removed(0).name(), "gone");
}

TEST_F(Session, AnAgentSpeaksOnlyForWhatItWasGiven) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});

  agent.ack(1, "s1", "v1", AssignmentStatus::ACTIVE);
  agent.ack(1, "s2", "v1", AssignmentStatus::ACTIVE);
  agent.ack(1, "s1", "v0", AssignmentStatus::REJECTED);
  agent.ack(1, "s1", "v1", AssignmentStatus::PENDING);

  EXPECT_THAT(
      listener.history("s1"), ElementsAre(AssignmentStatus::SENT, AssignmentStatus::ACTIVE));
  EXPECT_TRUE(listener.history("s2").empty());
  EXPECT_EQ(counters.acks_refused, 3u);
}

TEST_F(Session, AnAckOfAnOlderDeltaTakesNothingBack) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  agent.finish_write();
  set_desired({});
  agent.finish_all_writes();
  set_desired({{"s1", "v1"}});
  agent.finish_all_writes();
  ASSERT_EQ(agent.last_nonce, 3u);

  agent.ack(2, "s1", "", AssignmentStatus::REMOVED);
  agent.ack(1, "s1", "v1", AssignmentStatus::REJECTED);
  agent.ack(3, "s1", "v1", AssignmentStatus::ACTIVE);

  EXPECT_EQ(listener.history("s1").back(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(counters.acks_refused, 2u);
}

TEST_F(Session, ARemovalIsOverWhenTheAgentSaysSo) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  agent.finish_all_writes();

  set_desired({});
  agent.finish_all_writes();
  agent.ack(1, "s1", "v1", AssignmentStatus::ACTIVE); // crossed the removal
  EXPECT_EQ(listener.history("s1").back(), AssignmentStatus::REMOVING);
  agent.ack(2, "s1", "v1", AssignmentStatus::REMOVED);

  EXPECT_EQ(listener.history("s1").back(), AssignmentStatus::REMOVED);
  EXPECT_EQ(agent.session->assignments_tracked(), 0u);
}

TEST_F(Session, WhatTheAgentLetGoComesAgainWithTheNextLeases) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  agent.finish_all_writes();
  size_t before = agent.sent.size();

  agent.ack(0, "s1", "v1", AssignmentStatus::EXPIRED);
  EXPECT_EQ(agent.sent.size(), before);
  agent.session->refresh_leases();

  ASSERT_EQ(agent.sent.size(), before + 1);
  EXPECT_EQ(agent.sent.back().delta().assignments(0).key().name(), "s1");
}

TEST_F(Session, WhatTheAgentLetGoIsNotRemovedAgain) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  agent.finish_all_writes();
  size_t before = agent.sent.size();
  agent.ack(0, "s1", "v1", AssignmentStatus::EXPIRED);

  set_desired({});

  EXPECT_EQ(agent.sent.size(), before);
  EXPECT_EQ(agent.session->assignments_tracked(), 0u);
  EXPECT_EQ(listener.history("s1").back(), AssignmentStatus::EXPIRED);
}

TEST_F(Session, LeasesNeverGoBeyondTheEndOfTheSession) {
  agent.say_hello();
  agent.session->set_desired(desired({{"s1", "v1"}}, clock.wall_time() + 12s));
  agent.finish_all_writes();
  EXPECT_EQ(agent.sent[0].delta().leases(0).duration().seconds(), 12);

  clock.advance(10s);
  agent.session->refresh_leases();
  agent.finish_all_writes();
  EXPECT_EQ(agent.sent.back().lease_refresh().leases(0).duration().seconds(), 2);

  clock.advance(10s);
  agent.session->refresh_leases();
  agent.finish_all_writes();
  EXPECT_EQ(agent.sent.back().lease_refresh().leases(0).duration().seconds(), 0);
}

TEST_F(Session, WhatIsNotAcknowledgedIsStale) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  agent.finish_all_writes();

  clock.advance(kStaleAfter + 1s);
  agent.session->check_time();
  agent.session->check_time();
  agent.ack(1, "s1", "v1", AssignmentStatus::ACTIVE);

  EXPECT_THAT(
      listener.history("s1"),
      ElementsAre(AssignmentStatus::SENT, AssignmentStatus::STALE, AssignmentStatus::ACTIVE));
}

TEST_F(Session, SlowSilentAndSpeechlessAgentsLoseTheirStream) {
  set_desired({{"s1", "v1"}});
  clock.advance(kHelloTimeout + 1s);
  agent.session->check_time();
  EXPECT_EQ(agent.finished.value().reason, "HELLO_TIMEOUT");

  FakeAgent slow("agent-2", listener, clock, counters);
  slow.say_hello();
  slow.session->set_desired(desired({{"s1", "v1"}}, clock.wall_time() + 1h));
  clock.advance(kWriteTimeout + 1s);
  slow.session->check_time();
  EXPECT_EQ(slow.finished.value().reason, "SLOW_READER");

  FakeAgent silent("agent-3", listener, clock, counters);
  silent.say_hello();
  clock.advance(kSilenceMax + 1s);
  silent.session->check_time();
  EXPECT_EQ(silent.finished.value().reason, "AGENT_SILENT");
}

TEST_F(Session, IsSentAwayBehindTheWriteInFlightAndToldNothingMore) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  ASSERT_TRUE(agent.writing);

  agent.session->send_away(250ms);
  set_desired({{"s1", "v2"}});
  EXPECT_EQ(agent.sent.size(), 1u);
  agent.finish_all_writes();
  set_desired({{"s1", "v3"}});
  agent.session->refresh_leases();

  ASSERT_EQ(agent.sent.size(), 2u);
  EXPECT_EQ(agent.sent[1].go_away().retry_after().nanos(), 250'000'000);
  EXPECT_FALSE(agent.finished) << "the agent ends the stream";
}

TEST_F(Session, MessagesThatBreakTheRulesEndTheStream) {
  auto reason = [&](const std::string& bytes, bool hello) {
    FakeAgent fresh("agent-2", listener, clock, counters);
    if (hello) fresh.say_hello();
    fresh.session->received(bytes);
    return fresh.finished ? std::string(fresh.finished->reason) : "";
  };
  sonde::v1::ConnectRequest heartbeat;
  heartbeat.mutable_heartbeat()->set_sequence(1);
  sonde::v1::ConnectRequest early;
  early.mutable_ack()->set_nonce(7);
  sonde::v1::ConnectRequest hello;
  hello.mutable_hello()->set_hostname("h");
  sonde::v1::ConnectRequest labels;
  for (size_t i = 0; i <= kReportedLabelsMax; ++i)
    (*labels.mutable_hello()->mutable_reported_labels())[std::to_string(i)] = "x";

  EXPECT_EQ(reason("\xff\xff garbage", true), "INVALID_MESSAGE");
  EXPECT_EQ(reason(std::string(kAgentMessageBytesMax + 1, 'x'), true), "INVALID_MESSAGE");
  EXPECT_EQ(reason(heartbeat.SerializeAsString(), false), "INVALID_MESSAGE");
  EXPECT_EQ(reason(early.SerializeAsString(), true), "INVALID_MESSAGE");
  EXPECT_EQ(reason(hello.SerializeAsString(), true), "INVALID_MESSAGE");
  EXPECT_EQ(reason(labels.SerializeAsString(), false), "INVALID_MESSAGE");
  EXPECT_EQ(reason(heartbeat.SerializeAsString(), true), "");
}

TEST_F(Session, TextsAreCutBetweenCharacters) {
  agent.say_hello();
  set_desired({{"s1", "v1"}});
  AssignmentStatus status;
  status.set_state(AssignmentStatus::REJECTED);
  for (size_t i = 0; i < kDetailBytesMax; ++i) status.mutable_detail()->append("ä");
  status.mutable_detail()->insert(0, "x");

  agent.ack(1, "s1", "v1", status);

  EXPECT_EQ(listener.last_detail.size(), kDetailBytesMax - 1);
}

TEST_F(Session, WhatIsTheSameForAllIsEncodedOnce) {
  auto shared = desired({{"s1", "v1"}}, clock.wall_time() + 1h);
  FakeAgent other("agent-2", listener, clock, counters);
  agent.say_hello();
  other.say_hello();

  agent.session->set_desired(shared);
  other.session->set_desired(shared);

  EXPECT_EQ(agent.last_pieces.at(1).get(), other.last_pieces.at(1).get());
}

TEST(Leases, StopWhenTheViewOfTheStoreIsOldAndGoOnAfterwards) {
  base::ManualClock clock;
  RecordingListener listener;
  Counters counters;
  Fleet fleet;
  LiveStreams streams;
  FakeAgent agent("agent-1", listener, clock, counters);
  fleet.add(agent.session);
  agent.say_hello();
  agent.session->set_desired(desired({{"s1", "v1"}}, clock.wall_time() + 1h));
  agent.finish_all_writes();
  std::optional<base::Nanoseconds> age = 1s;
  Ticker ticker(
      fleet, streams, clock, [&] { return age; }, kLeaseRefreshInterval);
  auto leases_in = [&](std::chrono::seconds time) {
    uint64_t before = counters.leases_sent;
    for (auto passed = 0s; passed < time; passed += 1s) {
      clock.advance(1s);
      sonde::v1::ConnectRequest alive;
      alive.mutable_heartbeat();
      agent.session->received(alive.SerializeAsString());
      ticker.tick();
      agent.finish_all_writes();
    }
    return counters.leases_sent - before;
  };

  EXPECT_EQ(leases_in(60s), 6u);
  age = kViewAgeMax + 1s;
  EXPECT_EQ(leases_in(60s), 0u);
  age = std::nullopt;
  EXPECT_EQ(leases_in(60s), 0u);
  age = 0s;
  EXPECT_EQ(leases_in(1s), 1u) << "at once when the view is good again";
  EXPECT_EQ(leases_in(60s), 6u);
}

} // namespace
} // namespace controlplane::push
