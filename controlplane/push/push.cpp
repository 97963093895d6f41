#include "controlplane/push/push.h"

#include "base/hex.h"
#include "controlplane/push/agent_session.h"
#include "controlplane/push/dispatcher.h"
#include "controlplane/push/fleet.h"
#include "controlplane/push/recorder.h"
#include "controlplane/push/ticker.h"
#include "controlplane/push/transitions.h"
#include "controlplane/store/change_feed.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

namespace controlplane::push {
namespace {

base::Error shutting_down() {
  return base::unavailable("SHUTTING_DOWN", "this control plane is shutting down");
}

} // namespace

class Push::Parts final : public SessionListener {
 public:
  Parts(
      store::Pool& pool, store::ChangeFeed& change_feed, const base::Clock& wall_clock,
      Options options)
      : feed(change_feed), clock(wall_clock), lease{options.lease_duration},
        replica_id(base::new_uuid()), recorder(pool, fleet, wall_clock, replica_id),
        dispatcher(
            pool, fleet, streams, wall_clock,
            {.replica_id = replica_id, .heartbeat_interval = options.heartbeat_interval},
            [this](const AgentSession& session) { recorder.ended(session); }),
        ticker(
            fleet, streams, wall_clock, [this] { return view_age(); },
            options.lease_refresh_interval),
        transitions(pool, [this] { return dispatcher.has_live_sessions(); }) {
    change_feed.subscribe(
        [this](const store::ChangeFeed::Batch& batch) { dispatcher.changed(batch); });
  }

  std::optional<base::Nanoseconds> view_age() const {
    return dispatcher.view_age(feed.view_time());
  }

  void greeted(const std::shared_ptr<AgentSession>& session) override {
    dispatcher.greeted(session);
  }
  void status_changed(
      const AgentSession& session, const std::string& session_id,
      sonde::v1::AssignmentStatus status) override {
    recorder.status_changed(session, session_id, std::move(status));
  }
  void table_checked(
      const AgentSession& session, const std::string& table_id,
      const sonde::v1::AssignmentStatus& status) override {
    recorder.table_checked(session, table_id, status);
  }
  void processes_changed(const AgentSession& session, sonde::v1::ProcessReport report) override {
    recorder.processes_changed(session, std::move(report));
  }
  void ended(const AgentSession& session) override {
    fleet.remove(session);
    recorder.ended(session);
  }

  void send_agents_away() {
    const auto sessions = fleet.all();
    const auto spread = std::clamp<std::chrono::milliseconds>(
        kGoAwaySpreadPerAgent * static_cast<int64_t>(sessions.size()), kGoAwaySpreadMin,
        kGoAwaySpreadMax);
    std::mt19937_64 random(std::random_device{}());
    std::uniform_int_distribution<int64_t> draw(0, base::Nanoseconds(spread).count());
    for (const auto& session : sessions) session->send_away(base::Nanoseconds(draw(random)));
  }
  void wait_until_they_are_gone(base::Nanoseconds grace) {
    const auto deadline = clock.boot_time() + grace;
    while (fleet.size() > 0 && clock.boot_time() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }

  store::ChangeFeed& feed;
  const base::Clock& clock;
  std::atomic<bool> leaving{false};
  const LeaseTerms lease;
  const std::string replica_id;
  Counters counters;
  Fleet fleet;
  LiveStreams streams;
  Recorder recorder;
  Dispatcher dispatcher;
  Ticker ticker;
  Transitions transitions;
};

Push::Push(store::Pool& pool, store::ChangeFeed& feed, const base::Clock& clock, Options options)
    : parts_(std::make_unique<Parts>(pool, feed, clock, options)) {}

Push::~Push() { stop(); }

void Push::start() {
  parts_->recorder.start();
  parts_->dispatcher.start();
  parts_->ticker.start();
  parts_->transitions.start();
}

void Push::stop() {
  parts_->transitions.stop();
  parts_->ticker.stop();
  parts_->dispatcher.stop();
  parts_->leaving = true;
  parts_->send_agents_away();
  parts_->wait_until_they_are_gone(kGoAwayGrace);
  for (const auto& session : parts_->fleet.all()) session->end(shutting_down());
  // Their ends are written by the recorder's last batch.
  parts_->wait_until_they_are_gone(kShutdownGrace);
  parts_->recorder.stop();
}

std::shared_ptr<AgentSession> Push::connect(std::string agent_id, Stream& stream) {
  auto session = std::make_shared<AgentSession>(
      std::move(agent_id), stream, *parts_, parts_->clock, parts_->counters, parts_->lease);
  if (auto replaced = parts_->fleet.add(session))
    replaced->end(
        {base::Code::kAborted, "STREAM_REPLACED", "this agent opened a newer stream", {}});
  if (parts_->leaving) session->end(shutting_down());
  return session;
}

LiveStreams& Push::live_streams() { return parts_->streams; }

Stats Push::stats() const {
  const Counters& counters = parts_->counters;
  Stats stats{
      .agents_connected = parts_->fleet.size(),
      .streams = parts_->streams.size(),
      .deltas_sent = counters.deltas_sent,
      .leases_sent = counters.leases_sent,
      .acks = counters.acks,
      .acks_refused = counters.acks_refused,
      .streams_ended = counters.streams_ended,
      .statuses_written = parts_->recorder.statuses_written(),
      .write_failures = parts_->recorder.failures()};
  if (auto age = parts_->view_age())
    stats.view_age = std::chrono::duration_cast<std::chrono::milliseconds>(*age);
  return stats;
}

} // namespace controlplane::push
