// The Go processes of the fleet, as agents last reported them.
#pragma once

#include "controlplane/store/transaction.h"
#include "sonde/v1/agent_control_service.pb.h"
#include "sonde/v1/agent_service.pb.h"
#include "sonde/v1/selector.pb.h"

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// A full report replaces what was known of the agent, another is merged into it. agent_id and
// hostname are ours to say, whatever the report says.
Result<> write_processes(
    Transaction& tx, std::string_view agent_id, std::string_view hostname,
    const sonde::v1::ProcessReport& report);
Result<> forget_processes(Transaction& tx, std::string_view agent_id);

// By agent and pid. Filter fields: service, executable, go_version, binary_hash, hostname.
// INVALID_FILTER, INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListProcessesResponse>
list_processes(Transaction& tx, const sonde::v1::ListProcessesRequest& request);

struct ProcessMatch {
  std::string agent_id;
  int processes = 0;
};
// How many processes a selector's service, executable and pids mean on each of these agents, for a
// dry run. Agents with none are left out.
Result<std::vector<ProcessMatch>> count_processes(
    Transaction& tx, const sonde::v1::Selector& selector,
    const std::vector<std::string>& agent_ids);

} // namespace controlplane::store
