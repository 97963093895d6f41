#include "agent/link/link.h"

#include "agent/link/backoff.h"
#include "agent/link/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <thread>

namespace agent::link {
namespace {

using namespace std::chrono_literals;
using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;
using sonde::v1::ConnectRequest;
using sonde::v1::ConnectResponse;
using std::chrono::milliseconds;

template <class Predicate> bool eventually(Predicate predicate, milliseconds within = 30s) {
  auto deadline = std::chrono::steady_clock::now() + within;
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

sonde::v1::Ack
ack(uint64_t nonce, const std::string& name,
    AssignmentStatus::State state = AssignmentStatus::ACTIVE) {
  sonde::v1::Ack ack;
  ack.set_nonce(nonce);
  ack.add_assignments()->mutable_key()->set_type(AssignmentKey::SESSION);
  ack.mutable_assignments(0)->mutable_key()->set_name(name);
  ack.mutable_assignments(0)->mutable_status()->set_state(state);
  return ack;
}

sonde::v1::Process process(uint32_t pid) {
  sonde::v1::Process process;
  process.set_pid(pid);
  return process;
}

std::vector<ConnectRequest> drain(Outbox& outbox) {
  std::vector<ConnectRequest> messages;
  while (auto message = outbox.next()) messages.push_back(*std::move(message));
  return messages;
}

TEST(Backoff, TriesAgainAtOnceThenLaterAndLaterUpToItsCap) {
  Backoff backoff(1);
  milliseconds longest_first{0}, longest_late{0};

  for (int i = 0; i < 200; ++i) {
    backoff.reset();
    longest_first = std::max(longest_first, backoff.next());
    for (int failures = 0; failures < 20; ++failures) {
      milliseconds delay = backoff.next();
      EXPECT_LE(delay, kRetryCap);
      if (failures > 8) longest_late = std::max(longest_late, delay);
    }
  }

  EXPECT_LE(longest_first, kFirstRetryWithin);
  EXPECT_GT(longest_first, kFirstRetryWithin / 2);
  EXPECT_GT(longest_late, kRetryCap * 9 / 10);
}

TEST(Outbox, SaysTheNewestOfEachAssignmentAndAllOfItAgainOnANewStream) {
  Outbox outbox;
  outbox.restart();
  outbox.acknowledge(1, ack(1, "s1", AssignmentStatus::APPLYING));
  outbox.acknowledge(1, ack(1, "s1"));
  outbox.acknowledge(2, ack(2, "s2"));

  auto first = drain(outbox);
  outbox.pause();
  EXPECT_TRUE(outbox.empty());
  outbox.restart();
  auto again = drain(outbox);

  ASSERT_EQ(first.size(), 2u) << "one Ack per nonce";
  EXPECT_EQ(first[0].ack().nonce(), 1u);
  EXPECT_EQ(first[0].ack().assignments(0).status().state(), AssignmentStatus::ACTIVE);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].ack().nonce(), 0u) << "nonces belong to one stream";
  EXPECT_EQ(again[0].ack().assignments_size(), 2);
}

TEST(Outbox, WhatWasRemovedIsSaidOnce) {
  Outbox outbox;
  outbox.restart();
  outbox.acknowledge(1, ack(1, "s1", AssignmentStatus::REMOVED));
  EXPECT_EQ(drain(outbox).size(), 1u);

  outbox.restart();

  EXPECT_TRUE(drain(outbox).empty());
  EXPECT_EQ(outbox.statuses(), 0u);
}

TEST(Outbox, RemembersABoundedNumberOfStatuses) {
  Outbox outbox;
  for (size_t i = 0; i < 3 * kAckedAssignmentsMax; ++i)
    outbox.acknowledge(0, ack(0, std::to_string(i)));

  EXPECT_EQ(outbox.statuses(), kAckedAssignmentsMax);
}

TEST(Outbox, ReportsAllProcessesFirstAndThenWhatChanged) {
  Outbox outbox;
  outbox.restart();
  outbox.report_processes({process(1000)}, {7}); // between restart and the full report
  std::vector<sonde::v1::Process> all;
  for (uint32_t pid = 1; pid <= 300; ++pid) all.push_back(process(pid));
  outbox.report_all(std::move(all));

  auto full = drain(outbox);
  outbox.report_processes({process(2000)}, {3});
  auto change = drain(outbox);

  std::set<uint32_t> pids;
  for (const auto& message : full) {
    EXPECT_LE(message.processes().started_size(), kProcessesPerReport);
    EXPECT_EQ(message.processes().full(), &message == &full.front());
    for (const auto& each : message.processes().started()) pids.insert(each.pid());
  }
  EXPECT_EQ(pids.size(), 300u) << "300, without 7, and 1000";
  EXPECT_FALSE(pids.contains(7));
  EXPECT_TRUE(pids.contains(1000));
  ASSERT_EQ(change.size(), 1u);
  EXPECT_FALSE(change[0].processes().full());
  EXPECT_THAT(change[0].processes().ended_pids(), testing::ElementsAre(3u));
}

TEST(Outbox, TooManyChangesAskForAFullReport) {
  Outbox outbox;
  outbox.restart();
  for (uint32_t pid = 1; pid <= kPendingProcessesMax + 1; ++pid)
    outbox.report_processes({process(pid)}, {});

  EXPECT_TRUE(outbox.overflowed());
  outbox.restart();
  EXPECT_FALSE(outbox.overflowed());
}

TEST(Outbox, KeepsOneHeartbeat) {
  Outbox outbox;
  sonde::v1::AgentHealth health;
  outbox.heartbeat(health);
  outbox.restart();
  EXPECT_TRUE(outbox.empty()) << "nobody listened";

  health.set_resident_bytes(1);
  outbox.heartbeat(health);
  health.set_resident_bytes(2);
  outbox.heartbeat(health);

  auto messages = drain(outbox);
  ASSERT_EQ(messages.size(), 1u);
  EXPECT_EQ(messages[0].heartbeat().health().resident_bytes(), 2u);
}

// The network as the test wants it: every dial is written down, and the test plays the server.
class FakeNetwork {
 public:
  class FakeStream final : public ClientStream {
   public:
    FakeStream(FakeNetwork& network, std::shared_ptr<StreamListener> listener)
        : network_(network), listener_(std::move(listener)) {}
    void read() override {}
    void write(const ConnectRequest& message) override {
      {
        std::lock_guard lock(network_.mutex_);
        network_.written_.push_back(message);
      }
      listener_->written();
    }
    std::shared_ptr<grpc::Channel> channel() const override { return nullptr; }

   private:
    FakeNetwork& network_;
    std::shared_ptr<StreamListener> listener_;
  };

  Dial dial() {
    return [this](const std::string& address, auto, std::shared_ptr<StreamListener> listener) {
      std::lock_guard lock(mutex_);
      dialled_.push_back(address);
      listener_ = listener;
      if (accepts_)
        listener->accepted();
      else
        listener->closed(refusal_);
      return std::make_unique<FakeStream>(*this, listener);
    };
  }
  void refuse(base::Error error) {
    std::lock_guard lock(mutex_);
    accepts_ = false;
    refusal_ = std::move(error);
  }
  void accept() {
    std::lock_guard lock(mutex_);
    accepts_ = true;
  }
  std::shared_ptr<StreamListener> server() {
    std::lock_guard lock(mutex_);
    return listener_;
  }
  std::vector<ConnectRequest> written() {
    std::lock_guard lock(mutex_);
    return written_;
  }
  std::vector<std::string> dialled() {
    std::lock_guard lock(mutex_);
    return dialled_;
  }

 private:
  std::mutex mutex_;
  bool accepts_ = true;
  base::Error refusal_;
  std::shared_ptr<StreamListener> listener_;
  std::vector<ConnectRequest> written_;
  std::vector<std::string> dialled_;
};

class LinkTest : public testing::Test {
 protected:
  explicit LinkTest(size_t queue = 16)
      : events(queue),
        link(
            {{"a:1", "b:2"}}, [] { return nullptr; }, {.hello = [] { return sonde::v1::Hello(); }},
            events, clock, network.dial()) {}
  template <class What> What next() {
    auto event = events.pop_for(30s);
    EXPECT_TRUE(event && std::holds_alternative<What>(event->what));
    return event ? std::get<What>(event->what) : What();
  }
  static ConnectResponse delta(uint64_t nonce) {
    ConnectResponse response;
    response.mutable_delta()->set_nonce(nonce);
    return response;
  }

  base::SystemClock clock;
  FakeNetwork network;
  base::Queue<Event> events;
  Link link;
};

TEST_F(LinkTest, SaysHelloAndHandsDeltasToTheApp) {
  link.start();
  next<Connected>();

  network.server()->received(delta(1));
  auto received = next<sonde::v1::Delta>();
  sonde::v1::Ack answer = ack(received.nonce(), "s1");
  link.acknowledge(answer);

  ASSERT_TRUE(eventually([&] { return network.written().size() >= 3; }));
  auto written = network.written();
  EXPECT_TRUE(written[0].has_hello());
  // Which of the two comes first is up to the threads.
  const bool ack_first = written[1].has_ack();
  EXPECT_TRUE(written[ack_first ? 2 : 1].has_processes());
  EXPECT_EQ(written[ack_first ? 1 : 2].ack().nonce(), 1u) << "as this stream knows it";
}

TEST_F(LinkTest, AnAnswerToADeltaOfAnEarlierStreamHasNoNonce) {
  link.start();
  next<Connected>();
  network.server()->received(delta(1));
  auto received = next<sonde::v1::Delta>();

  network.server()->closed(base::unavailable("SHUTTING_DOWN", "bye"));
  EXPECT_EQ(next<Disconnected>().error.reason, "SHUTTING_DOWN");
  next<Connected>();
  link.acknowledge(ack(received.nonce(), "s1"));

  std::optional<uint64_t> nonce;
  ASSERT_TRUE(eventually([&] {
    for (const auto& message : network.written())
      if (message.has_ack()) nonce = message.ack().nonce();
    return nonce.has_value();
  }));
  EXPECT_EQ(*nonce, 0u);
}

TEST_F(LinkTest, GoesOnToTheNextAddressWhenOneDoesNotAnswer) {
  network.refuse(base::unavailable("CONTROL_PLANE_UNREACHABLE", "nobody there"));
  link.start();

  ASSERT_TRUE(eventually([&] { return network.dialled().size() >= 3; }));
  network.accept();

  next<Connected>();
  auto dialled = network.dialled();
  EXPECT_NE(dialled[0], dialled[1]);
  EXPECT_EQ(dialled[0], dialled[2]);
}

TEST_F(LinkTest, GoesToTheNextAddressWhenItIsSentAway) {
  link.start();
  next<Connected>();
  ConnectResponse response;
  response.mutable_go_away()->mutable_retry_after()->set_nanos(300'000'000);
  const auto begun = std::chrono::steady_clock::now();

  network.server()->received(response);

  EXPECT_EQ(next<Disconnected>().error.reason, "SHUTTING_DOWN");
  next<Connected>();
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 300ms);
  const auto dialled = network.dialled();
  ASSERT_EQ(dialled.size(), 2u);
  EXPECT_NE(dialled[0], dialled[1]);
}

TEST_F(LinkTest, AnAgentThatIsRefusedByNameDoesNotHammer) {
  network.refuse({base::Code::kPermissionDenied, "AGENT_BANNED", "banned", {}});
  link.start();

  EXPECT_FALSE(eventually([&] { return network.dialled().size() >= 2; }, 1s));
  EXPECT_EQ(link.stats().last_error, "AGENT_BANNED");
}

TEST_F(LinkTest, TellsADismissalWhetherAStreamEndsOrNoneBegins) {
  link.start();
  next<Connected>();
  network.refuse({base::Code::kPermissionDenied, "AGENT_BANNED", "banned", {}});

  network.server()->closed({base::Code::kPermissionDenied, "AGENT_EVICTED", "evicted", {}});

  auto ended = next<Disconnected>();
  EXPECT_EQ(ended.error.reason, "AGENT_EVICTED");
  EXPECT_TRUE(ended.dismissed());
  link.credential_changed(); // tries again at once
  auto refused = next<Disconnected>();
  EXPECT_EQ(refused.error.reason, "AGENT_BANNED");
  EXPECT_TRUE(refused.dismissed());
  EXPECT_FALSE((Disconnected{base::unavailable("SHUTTING_DOWN", "bye")}).dismissed());
}

TEST_F(LinkTest, ARenewedCertificateOpensANewStreamAtOnce) {
  link.start();
  next<Connected>();

  link.credential_changed();

  EXPECT_EQ(next<Disconnected>().error.reason, "CERTIFICATE_RENEWED");
  next<Connected>();
}

TEST_F(LinkTest, LateWordsOfAnOldStreamAreForNobody) {
  link.start();
  next<Connected>();
  auto old = network.server();
  link.credential_changed();
  next<Disconnected>();
  next<Connected>();

  old->received(delta(9));
  old->closed(base::internal("late"));
  network.server()->received(delta(1));

  EXPECT_EQ(next<sonde::v1::Delta>().nonce() & 0xffffffff, 1u);
}

class FullQueue : public LinkTest {
 protected:
  FullQueue() : LinkTest(2) {}
};

TEST_F(FullQueue, StartsTheStreamAnewAndLosesNothing) {
  link.start();
  ASSERT_TRUE(eventually([&] { return events.size() == 1; }));
  auto server = network.server();
  server->received(delta(1));
  ASSERT_TRUE(eventually([&] { return events.size() == 2; }));

  server->received(delta(2));

  EXPECT_TRUE(eventually([&] { return link.stats().queue_overflows == 1; }));
  EXPECT_TRUE(eventually([&] { return link.stats().connects == 2; }));
}

} // namespace
} // namespace agent::link
