// A session across the fleet, as counts.
#pragma once

#include "sonde/v1/session.pb.h"

#include <span>

namespace controlplane::model {

// Hosts of one session that say the same.
struct StatusCount {
  sonde::v1::AssignmentStatus::State state = sonde::v1::AssignmentStatus::STATE_UNSPECIFIED;
  sonde::v1::Reason::Code reason = sonde::v1::Reason::CODE_UNSPECIFIED;
  int hosts = 0;
  int processes = 0; // with at least one active probe
};

// States and reasons in the order of their enums; usage and spans are left to the caller.
sonde::v1::SessionSummary roll_up(std::span<const StatusCount> counts);
// Sums; losses by reason, in alphabetical order.
void add_usage(sonde::v1::Usage& sum, const sonde::v1::Usage& usage);
// Processes with at least one probe in state ACTIVE.
int active_processes(const sonde::v1::AssignmentStatus& status);

} // namespace controlplane::model
