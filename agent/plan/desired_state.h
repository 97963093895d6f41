// What the control plane wants of this agent: one value, replaced as a whole.
#pragma once

#include "base/clock.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <map>
#include <string>

namespace agent::plan {

struct DesiredSession {
  sonde::v1::SessionAssignment spec;
  std::string version; // of the assignment, handed back in its status
  uint64_t nonce = 0;  // of the delta that its next status answers; 0 when it was answered
  base::Nanoseconds deadline{0}; // end of the lease, boot time
};

// Keyed by the name of the assignment. Plain value.
struct DesiredState {
  std::map<std::string, DesiredSession> sessions;
  std::map<std::string, sonde::v1::SamplingRule> sampling_rules;
  std::map<std::string, sonde::v1::OffsetTable> offset_tables;
};

} // namespace agent::plan
