// What a session may cost, and what happens above it: first sampled down, then detached, then tried
// again. Pure.
#pragma once

#include "agent/plan/plan.h"
#include "base/clock.h"
#include "sonde/v1/session.pb.h"

#include <cstdint>
#include <string>

namespace agent::probe {

// What a session cost since it began.
struct Cost {
  base::Nanoseconds cpu{0}; // of its programs and their traps
  uint64_t events = 0;      // that left the kernel
};

struct BudgetLimits {
  double cpu_fraction = 0; // of one CPU
  double events_per_second = 0;
};

// The wish of the session, or the agent's default, under the policy of the host.
BudgetLimits limits_of(const sonde::v1::Budget& wish, const plan::LocalPolicy& policy);

// One per session; fed about once a second.
class BudgetMeter {
 public:
  BudgetMeter(BudgetLimits limits, base::Nanoseconds now) : limits_(limits), window_start_(now) {}

  // A changed budget counts from the next window on.
  void set_limits(BudgetLimits limits) { limits_ = limits; }
  // Call with totals; does nothing until a window is over. True when the verdict changed.
  bool measure(const Cost& total, base::Nanoseconds now);
  const plan::BudgetVerdict& verdict() const { return verdict_; }

 private:
  void judge(double cpu_fraction, double events_per_second, base::Nanoseconds now);
  void sample_down(
      double over, sonde::v1::Reason::Code reason, const std::string& what, base::Nanoseconds now);

  BudgetLimits limits_;
  base::Nanoseconds window_start_;
  Cost window_start_cost_;
  plan::BudgetVerdict verdict_;
  int calm_windows_ = 0;
  base::Nanoseconds retry_at_{0};
};

} // namespace agent::probe
