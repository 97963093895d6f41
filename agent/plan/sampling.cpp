#include "agent/plan/sampling.h"

#include <algorithm>
#include <cmath>

namespace agent::plan {
namespace {

uint32_t tighter_rate(uint32_t a, uint32_t b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

base::Nanoseconds nanoseconds_of(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + base::Nanoseconds(duration.nanos());
}

} // namespace

uint64_t threshold_of(double ratio) {
  if (!(ratio > 0)) return kRandomnessEnd;
  if (ratio >= 1) return 0;
  return static_cast<uint64_t>(std::llround((1 - ratio) * static_cast<double>(kRandomnessEnd)));
}

Sampling sampling_of(
    const sonde::v1::Sampling& wish, std::span<const sonde::v1::SamplingRule> rules,
    const Subject& subject, double share) {
  Sampling sampling;
  double ratio = wish.has_ratio() ? wish.ratio() : 1;
  sampling.spans_per_second = static_cast<uint32_t>(std::max(0, wish.spans_per_second()));
  sampling.keep_slower_than = nanoseconds_of(wish.keep_slower_than());
  sampling.keep_errors = wish.keep_errors();
  sampling.respect_parent_sampled = wish.respect_parent_sampled();
  bool capped = share < 1;
  for (const auto& rule : rules) {
    if (rule.disabled() || !matches(rule.selector(), subject)) continue;
    if (rule.has_ratio()) {
      ratio = std::min(ratio, rule.ratio());
      capped = capped || rule.ratio() < 1;
    }
    sampling.spans_per_second = tighter_rate(
        sampling.spans_per_second, static_cast<uint32_t>(std::max(0, rule.spans_per_second())));
  }
  if (capped) {
    sampling.keep_slower_than = base::Nanoseconds(0);
    sampling.keep_errors = false;
  }
  sampling.threshold = threshold_of(ratio * share);
  return sampling;
}

KernelSampling loosest(std::span<const Sampling> sessions) {
  KernelSampling kernel;
  bool uncapped = false;
  for (const auto& session : sessions) {
    kernel.threshold = std::min(kernel.threshold, session.has_tail_rules() ? 0 : session.threshold);
    // A cap on kept roots cannot be held where it is not known yet which are kept.
    uncapped = uncapped || session.spans_per_second == 0 || session.has_tail_rules();
    kernel.spans_per_second = std::max(kernel.spans_per_second, session.spans_per_second);
  }
  if (uncapped) kernel.spans_per_second = 0;
  return kernel;
}

} // namespace agent::plan
