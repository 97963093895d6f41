// A session across the fleet, as counts.
#pragma once

#include "sonde/v1/session.pb.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>

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
// A host tells of a loss twice: in its status at once, and with its results for good. They count
// the same thing, so the larger number is the truth.
void raise_losses(sonde::v1::Usage& usage, std::map<std::string, uint64_t> losses);
// Processes with at least one probe in state ACTIVE.
int active_processes(const sonde::v1::AssignmentStatus& status);

} // namespace controlplane::model
