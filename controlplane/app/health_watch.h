// Asks again and again whether this replica is ready, for those that cannot ask /readyz: gRPC
// health.
#pragma once

#include "controlplane/edge/readiness.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace controlplane::app {

// How late gRPC health may be; while not ready it is asked more often, so that calls come back
// soon.
inline constexpr std::chrono::milliseconds kHealthInterval{1000};
inline constexpr std::chrono::milliseconds kUnreadyInterval{200};

// One thread of its own: a check may wait for the store.
class HealthWatch {
 public:
  // `tell` is called from the thread, at the start and then at every interval.
  HealthWatch(const edge::Readiness& readiness, std::function<void(bool ready)> tell);
  ~HealthWatch(); // `tell` is not called any more when it returns
  HealthWatch(const HealthWatch&) = delete;
  HealthWatch& operator=(const HealthWatch&) = delete;

 private:
  void run();

  const edge::Readiness& readiness_;
  const std::function<void(bool)> tell_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::app
