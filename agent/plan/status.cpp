#include "agent/plan/status.h"

#include "agent/plan/limits.h"

#include <algorithm>
#include <map>

namespace agent::plan {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

struct Counts {
  size_t active = 0;
  size_t partial = 0;
  size_t refused = 0;
};

Counts count_states(const std::vector<ProcessOutcome>& outcomes) {
  Counts counts;
  for (const auto& [pid, executable, outcome] : outcomes) {
    if (outcome.state == AssignmentStatus::ACTIVE)
      ++counts.active;
    else if (outcome.state == AssignmentStatus::PARTIAL)
      ++counts.partial;
    else
      ++counts.refused;
  }
  return counts;
}

// The first outcome that carries the most frequent reason; null when none has a reason.
const ProbeOutcome* most_frequent_reason(const std::vector<ProcessOutcome>& outcomes) {
  std::map<Reason::Code, size_t> counts;
  for (const auto& entry : outcomes)
    if (entry.outcome.reason != Reason::CODE_UNSPECIFIED) ++counts[entry.outcome.reason];
  const ProbeOutcome* best = nullptr;
  for (const auto& entry : outcomes) {
    const auto found = counts.find(entry.outcome.reason);
    if (found != counts.end() && (best == nullptr || found->second > counts.at(best->reason)))
      best = &entry.outcome;
  }
  return best;
}

void fill_rows(AssignmentStatus& status, const std::vector<ProcessOutcome>& outcomes) {
  for (const auto& [pid, executable, outcome] : outcomes) {
    if (status.probes_size() >= kProbeStatusesMax) return;
    auto& row = *status.add_probes();
    row.set_probe_index(outcome.probe_index);
    row.set_pid(pid);
    row.set_executable(executable);
    row.set_state(outcome.state);
    row.set_reason(outcome.reason);
    row.set_detail(outcome.detail);
  }
}

} // namespace

AssignmentStatus session_status(const std::vector<ProcessOutcome>& outcomes) {
  AssignmentStatus status;
  if (outcomes.empty()) {
    status.set_state(AssignmentStatus::SKIPPED);
    status.set_reason(Reason::NO_MATCHING_PROCESS);
    status.set_detail("no Go process on this host matches the selector; one that starts will join");
    return status;
  }
  const auto counts = count_states(outcomes);
  if (counts.active == outcomes.size())
    status.set_state(AssignmentStatus::ACTIVE);
  else if (counts.active + counts.partial > 0)
    status.set_state(AssignmentStatus::PARTIAL);
  else
    status.set_state(AssignmentStatus::REJECTED);
  if (const auto* cause = most_frequent_reason(outcomes)) {
    status.set_reason(cause->reason);
    status.set_detail(cause->detail);
  }
  fill_rows(status, outcomes);
  if (outcomes.size() > static_cast<size_t>(kProbeStatusesMax))
    status.set_detail(
        status.detail() + (status.detail().empty() ? "" : "; ") + "showing " +
        std::to_string(kProbeStatusesMax) + " of " + std::to_string(outcomes.size()) + " rows");
  return status;
}

} // namespace agent::plan
