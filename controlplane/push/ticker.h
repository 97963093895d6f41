// What must go on whatever the store does: leases, the end of expired certificates, slow and silent
// agents. Touches memory only.
#pragma once

#include "base/clock.h"
#include "controlplane/push/fleet.h"
#include "controlplane/push/live_streams.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace controlplane::push {

// One thread of its own; tick() is public for tests with a manual clock.
class Ticker {
 public:
  using ViewAge = std::function<std::optional<base::Nanoseconds>()>;

  Ticker(
      const Fleet& fleet, LiveStreams& streams, const base::Clock& clock, ViewAge view_age,
      std::chrono::seconds refresh_interval)
      : fleet_(fleet), streams_(streams), clock_(clock), view_age_(std::move(view_age)),
        refresh_interval_(refresh_interval) {}
  ~Ticker() { stop(); }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

  void start();
  void stop();
  void tick();

 private:
  const Fleet& fleet_;
  LiveStreams& streams_;
  const base::Clock& clock_;
  const ViewAge view_age_;
  const std::chrono::seconds refresh_interval_;
  base::Nanoseconds refresh_due_{};
  bool view_was_old_ = false;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::push
