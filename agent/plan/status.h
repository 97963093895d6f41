// How far a session got on this agent, from what was planned and what the kernel said. Pure.
#pragma once

#include "agent/plan/plan.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <string>
#include <vector>

namespace agent::plan {

// An outcome and where it happened.
struct ProcessOutcome {
  uint32_t pid = 0;
  std::string executable;
  ProbeOutcome outcome;
};

// ACTIVE when every probe is active in every process, PARTIAL when some are, REJECTED when none is,
// with the most frequent reason; SKIPPED with NO_MATCHING_PROCESS when there is no process. Usage
// and time are left to the caller.
sonde::v1::AssignmentStatus session_status(const std::vector<ProcessOutcome>& outcomes);

} // namespace agent::plan
