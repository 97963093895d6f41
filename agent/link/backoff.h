// How long to wait before the next attempt to connect.
#pragma once

#include "agent/link/limits.h"

#include <algorithm>
#include <random>

namespace agent::link {

// Full jitter: a uniform share of a bound that doubles. Belongs to one thread.
class Backoff {
 public:
  explicit Backoff(uint64_t seed) : random_(seed) {}

  std::chrono::milliseconds next() {
    const int slow = std::clamp(failures_ - kQuickRetries, 0, 10);
    auto bound =
        failures_ == 0 ? kFirstRetryWithin : std::min(kRetryCap, kQuickRetryWithin * (1 << slow));
    ++failures_;
    return std::chrono::milliseconds(
        std::uniform_int_distribution<int64_t>(0, bound.count())(random_));
  }
  void reset() { failures_ = 0; }

 private:
  std::mt19937_64 random_;
  int failures_ = 0;
};

} // namespace agent::link
