#include "agent/probe/budget.h"

#include "agent/probe/limits.h"

#include <fmt/format.h>

#include <algorithm>

namespace agent::probe {
namespace {

double seconds(base::Nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

} // namespace

BudgetLimits limits_of(const sonde::v1::Budget& wish, const plan::LocalPolicy& policy) {
  BudgetLimits limits{kCpuFractionDefault, kEventsPerSecondDefault};
  if (wish.cpu_fraction() > 0) limits.cpu_fraction = wish.cpu_fraction();
  if (wish.events_per_second() > 0)
    limits.events_per_second = static_cast<double>(wish.events_per_second());
  if (policy.cpu_fraction_max)
    limits.cpu_fraction = std::min(limits.cpu_fraction, *policy.cpu_fraction_max);
  if (policy.events_per_second_max)
    limits.events_per_second =
        std::min(limits.events_per_second, static_cast<double>(*policy.events_per_second_max));
  return limits;
}

bool BudgetMeter::measure(const Cost& total, base::Nanoseconds now) {
  const auto elapsed = now - window_start_;
  if (elapsed < kBudgetWindow) return false;
  const auto before = verdict_;
  const auto cpu = total.cpu - window_start_cost_.cpu;
  const auto events = total.events - window_start_cost_.events;
  window_start_ = now;
  window_start_cost_ = total;
  if (verdict_.share <= 0) {
    // Half open: a small share shows whether the load is gone.
    if (now >= retry_at_) verdict_.share = kRetryShare;
  } else {
    judge(seconds(cpu) / seconds(elapsed), static_cast<double>(events) / seconds(elapsed), now);
  }
  return verdict_ != before;
}

void BudgetMeter::judge(double cpu_fraction, double events_per_second, base::Nanoseconds now) {
  const double cpu_over = cpu_fraction / std::max(limits_.cpu_fraction, 1e-9);
  const double events_over = events_per_second / std::max(limits_.events_per_second, 1e-9);
  if (events_over > 1 && events_over >= cpu_over)
    return sample_down(
        events_over, sonde::v1::Reason::BUDGET_EVENTS,
        fmt::format("{:.0f} events/s of {:.0f}", events_per_second, limits_.events_per_second),
        now);
  if (cpu_over > 1)
    return sample_down(
        cpu_over, sonde::v1::Reason::BUDGET_CPU,
        fmt::format(
            "{:.2f} % of a CPU of {:.2f} %", cpu_fraction * 100, limits_.cpu_fraction * 100),
        now);
  calm_windows_ = std::max(cpu_over, events_over) < kCalmBelow ? calm_windows_ + 1 : 0;
  if (verdict_.share >= 1 || calm_windows_ < kCalmWindows) return;
  calm_windows_ = 0;
  verdict_.share = std::min(1.0, verdict_.share * 2);
  if (verdict_.share >= 1) verdict_ = {};
}

void BudgetMeter::sample_down(
    double over, sonde::v1::Reason::Code reason, const std::string& what, base::Nanoseconds now) {
  calm_windows_ = 0;
  verdict_.share *= std::max(kSampleDownMax, kSampleDownMargin / over);
  verdict_.reason = reason;
  if (verdict_.share >= kShareMin) {
    verdict_.detail = fmt::format("sampled down to {:.1f} %: {}", verdict_.share * 100, what);
    return;
  }
  verdict_.share = 0;
  verdict_.detail = "detached: " + what + " even when sampled down";
  retry_at_ = now + kBudgetRetry;
}

} // namespace agent::probe
