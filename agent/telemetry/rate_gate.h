// A cap on local roots per second that keeps the children of a kept root.
#pragma once

#include "agent/telemetry/limits.h"

#include <array>
#include <cstdint>

namespace agent::telemetry {

// One session's cap on one process. The decision about a root is made with the first span of it
// that ends, and found again by its randomness, which all its spans share. One thread.
class RateGate {
 public:
  explicit RateGate(uint32_t roots_per_second)
      : per_second_(roots_per_second), tokens_(roots_per_second) {}

  uint32_t roots_per_second() const { return per_second_; }
  bool admits(uint64_t randomness, uint64_t now_ns) {
    Decision& decision = decisions_[(randomness ^ randomness >> 32) % kRateDecisions];
    if (decision.randomness_plus_one == randomness + 1) return decision.kept;
    decision = {randomness + 1, take_token(now_ns)};
    return decision.kept;
  }

 private:
  struct Decision {
    uint64_t randomness_plus_one = 0; // 0: empty
    bool kept = false;
  };
  // A second's worth at most gathers, so that a cap of 1 lets the first through.
  bool take_token(uint64_t now_ns) {
    if (now_ns > refilled_ns_) {
      const double earned = static_cast<double>(now_ns - refilled_ns_) * 1e-9 * per_second_;
      tokens_ = tokens_ + earned > per_second_ ? per_second_ : tokens_ + earned;
      refilled_ns_ = now_ns;
    }
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  uint32_t per_second_;
  double tokens_;
  uint64_t refilled_ns_ = 0;
  std::array<Decision, kRateDecisions> decisions_{};
};

} // namespace agent::telemetry
