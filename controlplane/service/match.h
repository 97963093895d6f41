// Which hosts and processes a session would reach, and whether any of them can do what it asks.
#pragma once

#include "controlplane/model/selector.h"
#include "controlplane/store/pool.h"
#include "sonde/v1/session.pb.h"

#include <string>
#include <vector>

namespace controlplane::service {

struct Match {
  std::vector<std::string> agent_ids;
  // Hosts, states and reasons as they would be, and matching processes.
  sonde::v1::SessionSummary summary;
  std::string sentence; // for people: "matches 2 hosts (1 offline) and 3 processes"
};

// Hosts that the session selects. PROBE_UNSUPPORTED (FAILED_PRECONDITION) at "session.probes[i]"
// when hosts are connected and none of them knows that kind of probe.
base::Result<Match> match_hosts(store::Transaction& tx, const sonde::v1::Session& session);
// The same with the processes counted on each host, for a dry run.
base::Result<Match> match_processes(store::Transaction& tx, const sonde::v1::Session& session);

} // namespace controlplane::service
