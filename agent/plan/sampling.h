// Consistent sampling: a local root carries 56 random bits, and a session keeps it when they reach
// the session's threshold. The kernel applies the loosest threshold of all sessions of a process,
// each session its own afterwards, so that they overlap instead of competing.
#pragma once

#include "agent/plan/selector.h"
#include "base/clock.h"
#include "sonde/v1/sampling_rule_service.pb.h"
#include "sonde/v1/session.pb.h"

#include <cstdint>
#include <span>
#include <vector>

namespace agent::plan {

inline constexpr uint64_t kRandomnessEnd = uint64_t{1}
                                           << 56; // above every randomness: nothing is kept

// Smallest randomness that a share of `ratio` of all roots keeps: 1 gives 0, 0 gives
// kRandomnessEnd.
uint64_t threshold_of(double ratio);

// What one session keeps of one process.
struct Sampling {
  uint64_t threshold = 0;
  uint32_t spans_per_second = 0; // 0: no cap
  // Tail rules: a root below the threshold is kept all the same when it was slow or failed.
  base::Nanoseconds keep_slower_than{0}; // 0: no such rule
  bool keep_errors = false;
  bool respect_parent_sampled = false;

  bool has_tail_rules() const { return keep_errors || keep_slower_than.count() > 0; }
};

// A session's wish under every enabled rule that selects the process; the lowest ratio and rate
// win. A rule does away with tail rules below its ratio. `share` in (0, 1] samples further down,
// for the budget.
Sampling sampling_of(
    const sonde::v1::Sampling& wish, std::span<const sonde::v1::SamplingRule> rules,
    const Subject& subject, double share);

// What the kernel must let through so that each session can take its part.
struct KernelSampling {
  uint64_t threshold = kRandomnessEnd;
  uint32_t spans_per_second = 0;
};
KernelSampling loosest(std::span<const Sampling> sessions);

} // namespace agent::plan
