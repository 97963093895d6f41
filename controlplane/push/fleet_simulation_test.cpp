// Some hundred agents that lose their streams, read slowly, answer late and come back elsewhere,
// while sessions come and go: seeded, and checked after every round.
#include "controlplane/push/fake_agent.h"
#include "controlplane/push/fleet.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

namespace controlplane::push {
namespace {

using namespace std::chrono_literals;
using sonde::v1::AssignmentStatus;

constexpr int kAgents = 300;
constexpr int kRounds = 120;
constexpr int kSessionsMax = 12;

// What an agent holds survives its streams.
struct SimulatedAgent {
  std::string id;
  std::map<std::string, std::string> held;
  std::map<std::string, std::string> entitled; // what the control plane means it to hold
  std::set<std::string> ever_entitled;
  std::unique_ptr<FakeAgent> stream;               // null while it is away
  std::map<std::string, uint64_t> newest_answered; // nonce per session, on this stream
};

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed), agents_(kAgents) {
    for (int i = 0; i < kAgents; ++i) agents_[i].id = "agent-" + std::to_string(i);
  }

  void round() {
    change_sessions();
    for (SimulatedAgent& agent : agents_) act(agent);
    clock_.advance(std::chrono::milliseconds(chance(1, 3) ? 1500 : 100));
    if (chance(1, 10))
      for (SimulatedAgent& agent : agents_)
        if (agent.stream) agent.stream->session->refresh_leases();
  }
  // Everybody is there and takes everything.
  void settle() {
    for (SimulatedAgent& agent : agents_) {
      if (!agent.stream) connect(agent);
      for (int i = 0; i < 4; ++i) {
        take(agent, agent.stream->sent.size());
        agent.stream->finish_all_writes();
      }
    }
  }
  void check(bool settled) {
    for (SimulatedAgent& agent : agents_) {
      for (const auto& [name, version] : agent.held)
        ASSERT_TRUE(agent.ever_entitled.contains(name)) << agent.id << " holds " << name;
      if (!agent.stream) continue;
      ASSERT_LE(agent.stream->session->assignments_tracked(), 4u * kSessionsMax);
      if (settled) {
        ASSERT_EQ(agent.held, agent.entitled) << agent.id;
        for (const auto& [name, version] : agent.entitled)
          ASSERT_EQ(listener_.newest(agent.id, name), AssignmentStatus::ACTIVE)
              << agent.id << ' ' << name;
      }
    }
  }
  const Counters& counters() const { return counters_; }

 private:
  bool chance(int of, int in) { return std::uniform_int_distribution<int>(1, in)(random_) <= of; }

  // A session starts, ends or changes; each goes to a third of the fleet.
  void change_sessions() {
    if (chance(1, 2) && sessions_.size() < kSessionsMax)
      sessions_["s" + std::to_string(++last_session_)] = 1;
    else if (chance(1, 3) && !sessions_.empty())
      sessions_.erase(sessions_.begin());
    else if (chance(1, 3) && !sessions_.empty())
      ++sessions_.rbegin()->second;
    else
      return;
    for (SimulatedAgent& agent : agents_) {
      agent.entitled.clear();
      for (const auto& [name, version] : sessions_)
        if (std::hash<std::string>()(agent.id + name) % 3 == 0)
          agent.entitled[name] = "v" + std::to_string(version);
      for (const auto& [name, version] : agent.entitled) agent.ever_entitled.insert(name);
      if (agent.stream) push(agent);
    }
  }
  void push(SimulatedAgent& agent) {
    agent.stream->session->set_desired(
        desired({agent.entitled.begin(), agent.entitled.end()}, clock_.wall_time() + 1h));
  }
  void connect(SimulatedAgent& agent) {
    agent.stream = std::make_unique<FakeAgent>(agent.id, listener_, clock_, counters_);
    agent.newest_answered.clear();
    agent.stream->say_hello({agent.held.begin(), agent.held.end()});
    for (const auto& [name, version] : agent.held)
      agent.stream->ack(0, name, version, AssignmentStatus::ACTIVE);
    push(agent);
  }
  void act(SimulatedAgent& agent) {
    if (!agent.stream) {
      if (chance(1, 4)) connect(agent);
    } else if (chance(1, 20)) {
      agent.stream.reset();
    } else if (chance(1, 2)) {
      take(agent, 1);
      if (chance(2, 3)) agent.stream->finish_all_writes();
    }
  }
  // The agent reads messages in order and answers each, sometimes a second time and late.
  void take(SimulatedAgent& agent, size_t messages) {
    for (; messages > 0 && !agent.stream->sent.empty(); --messages) {
      sonde::v1::ConnectResponse message = std::move(agent.stream->sent.front());
      agent.stream->sent.pop_front();
      if (!message.has_delta()) continue;
      uint64_t nonce = message.delta().nonce();
      for (const auto& assignment : message.delta().assignments()) {
        const std::string& name = assignment.key().name();
        agent.held[name] = assignment.version();
        if (chance(1, 4) && nonce > 1) // late news of before, which must not count
          agent.stream->ack(nonce - 1, name, assignment.version(), AssignmentStatus::REJECTED);
        agent.stream->ack(nonce, name, assignment.version(), AssignmentStatus::ACTIVE);
      }
      for (const auto& removed : message.delta().removed()) {
        agent.held.erase(removed.name());
        agent.stream->ack(nonce, removed.name(), "", AssignmentStatus::REMOVED);
      }
      // Nobody listens to what an agent says of others' sessions.
      agent.stream->ack(nonce, "someone-elses", "v1", AssignmentStatus::ACTIVE);
    }
  }

  std::mt19937 random_;
  base::ManualClock clock_;
  RecordingListener listener_;
  Counters counters_;
  std::map<std::string, int> sessions_;
  int last_session_ = 0;
  std::vector<SimulatedAgent> agents_;
};

class FleetSimulation : public testing::TestWithParam<uint32_t> {};

TEST_P(FleetSimulation, ConvergesAfterEveryDisconnect) {
  Simulation simulation(GetParam());

  for (int round = 0; round < kRounds; ++round) {
    simulation.round();
    simulation.check(false);
    if (HasFatalFailure()) FAIL() << "seed " << GetParam() << " round " << round;
    if (round % 30 != 29) continue;
    simulation.settle();
    simulation.check(true);
    if (HasFatalFailure()) FAIL() << "seed " << GetParam() << " settled after round " << round;
  }
  EXPECT_GT(simulation.counters().deltas_sent, 1000u);
  EXPECT_GT(simulation.counters().acks_refused, 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, FleetSimulation, testing::Values(1u, 2u, 3u));

// The dispatcher, the ticker and the stream's own threads meet in one session: for ThreadSanitizer.
TEST(AgentSessionThreads, MeetInOneSession) {
  base::SystemClock clock;
  RecordingListener listener;
  Counters counters;
  struct QuietStream final : Stream {
    void write(EncodedMessage) override { ++writes; }
    void finish(const base::Error&) override { ++ends; }
    std::atomic<int> writes{0}, ends{0};
  } stream;
  auto session =
      std::make_shared<AgentSession>("agent-1", stream, listener, clock, counters, LeaseTerms{});
  sonde::v1::ConnectRequest hello;
  hello.mutable_hello()->set_hostname("host");
  session->received(hello.SerializeAsString());
  std::vector<std::jthread> threads;
  auto repeat = [&](auto act) {
    threads.emplace_back([act] {
      for (int i = 0; i < 500; ++i) act(i);
    });
  };

  repeat([&](int i) {
    session->set_desired(desired({{"s" + std::to_string(i % 7), "v1"}}, clock.wall_time() + 1h));
  });
  repeat([&](int) { session->refresh_leases(); });
  repeat([&](int) { session->check_time(); });
  repeat([&](int i) {
    sonde::v1::ConnectRequest request;
    request.mutable_heartbeat()->set_sequence(static_cast<uint64_t>(i));
    session->received(request.SerializeAsString());
    session->take_health();
  });
  std::atomic<bool> done = false;
  std::jthread network([&] {
    for (int written = 0; !done;)
      if (stream.writes > written) {
        ++written;
        session->written(true);
      }
  });
  for (std::jthread& thread : threads) thread.join();
  done = true;
  network.join();
  session->end(base::unavailable("SHUTTING_DOWN", ""));
  session->closed();

  EXPECT_EQ(stream.ends, 1);
}

} // namespace
} // namespace controlplane::push
