// For a log line that every attempt would repeat while something is away: a full disk is not
// helped by ten lines a second.
#pragma once

#include <atomic>
#include <chrono>

namespace base {

// Lets one caller through per interval, the first one at once. Thread-safe.
class Seldom {
 public:
  using SteadyClock = std::chrono::steady_clock;

  explicit Seldom(SteadyClock::duration interval = std::chrono::seconds(10))
      : interval_(interval) {}

  bool now(SteadyClock::time_point time = SteadyClock::now()) {
    auto next = next_.load();
    return time >= next && next_.compare_exchange_strong(next, time + interval_);
  }

 private:
  const SteadyClock::duration interval_;
  std::atomic<SteadyClock::time_point> next_{SteadyClock::time_point::min()};
};

} // namespace base
