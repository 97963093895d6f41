// Woken by the change feed and by agents that connect, it reads what changed, computes what each
// agent of this replica should hold, and hands it to their sessions.
#pragma once

#include "base/clock.h"
#include "controlplane/model/desired_state.h"
#include "controlplane/push/fleet.h"
#include "controlplane/push/live_streams.h"
#include "controlplane/store/change_feed.h"
#include "controlplane/store/pool.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace controlplane::push {

// One thread of its own, which owns what is not behind the mutex.
class Dispatcher {
 public:
  struct Options {
    std::string replica_id;
    std::chrono::seconds heartbeat_interval = kHeartbeatInterval;
  };
  Dispatcher(
      store::Pool& pool, const Fleet& fleet, LiveStreams& streams, const base::Clock& clock,
      Options options, std::function<void(const AgentSession&)> ended);
  ~Dispatcher(); // stop()
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void start();
  void stop();

  // Any thread; they return at once.
  void changed(const store::ChangeFeed::Batch& batch);
  void greeted(std::shared_ptr<AgentSession> session);

  // How long ago everything that the feed said was in the agents' desired state; nothing before the
  // first time. `feed_view` is ChangeFeed::view_time(). Any thread, never blocks on the store.
  std::optional<base::Nanoseconds> view_age(std::optional<base::Nanoseconds> feed_view) const;
  bool has_live_sessions() const { return has_live_sessions_; }

 private:
  // What has to be read again.
  struct Work {
    bool sessions = false;
    bool rules = false;
    bool tables = false;
    std::set<std::string> agents; // whose labels or standing changed
    std::vector<std::shared_ptr<AgentSession>> greetings;
    bool empty() const {
      return !sessions && !rules && !tables && agents.empty() && greetings.empty();
    }
  };
  struct Known {
    model::AgentView view;
    std::set<std::string> sessions; // assigned
  };

  void run();
  bool perform(const Work& work);
  void give_back(Work work);
  base::Result<> read_fleet_state(store::Transaction& tx, const Work& work);
  base::Result<> write_greetings(store::Transaction& tx, const Work& work);
  base::Result<> read_agents(store::Transaction& tx, const Work& work);
  base::Result<bool> assign_latecomers(store::Transaction& tx);
  base::Result<> read_assignees(store::Transaction& tx);
  void forget_the_gone();
  bool end_the_expelled(const Work& work);
  void encode_assignments();
  std::shared_ptr<const DesiredState> desired_state(const Known& agent) const;

  store::Pool& pool_;
  const Fleet& fleet_;
  LiveStreams& streams_;
  const base::Clock& clock_;
  const Options options_;
  const std::function<void(const AgentSession&)> ended_;

  // The dispatcher's thread only.
  std::vector<sonde::v1::Session> sessions_; // live ones
  std::vector<sonde::v1::SamplingRule> rules_;
  std::vector<sonde::v1::OffsetTable> tables_;
  std::map<std::string, Known> agents_; // connected here
  DesiredState encoded_;                // of everything, shared by the agents

  std::atomic<bool> has_live_sessions_{false};
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Work work_;
  std::optional<base::Nanoseconds> behind_since_; // boot time; work waits or is being done
  bool read_once_ = false;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::push
