// Agents: who they are, what they said of themselves, and whether they are there.
#pragma once

#include "controlplane/model/selector.h"
#include "controlplane/store/transaction.h"
#include "sonde/v1/agent.pb.h"
#include "sonde/v1/agent_control_service.pb.h"
#include "sonde/v1/agent_service.pb.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// A replica that has not been heard of for so long is gone, and its agents are offline.
inline constexpr std::chrono::seconds kReplicaTimeout{20};

enum class Standing { kAdmitted, kDraining, kEvicted, kBanned };

using LabelMap = google::protobuf::Map<std::string, std::string>;

Result<> insert_agent(
    Transaction& tx, std::string_view agent_id, std::string_view hostname, const LabelMap& labels);

// AGENT_NOT_FOUND; also for an id that is no UUID.
Result<sonde::v1::Agent> find_agent(Transaction& tx, std::string_view agent_id);
Result<Standing> find_standing(Transaction& tx, std::string_view agent_id);

// Newest first. INVALID_FILTER, INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListAgentsResponse>
list_agents(Transaction& tx, const sonde::v1::ListAgentsRequest& request);
// By the name of their Agent.State.
Result<std::map<std::string, int64_t>> count_agents(Transaction& tx);

// Both record the change for the replicas.
Result<> set_standing(Transaction& tx, std::string_view agent_id, Standing standing);
// Empty `etag` for no check; ETAG_MISMATCH (ABORTED).
Result<> set_assigned_labels(
    Transaction& tx, std::string_view agent_id, const LabelMap& labels, std::string_view etag);

// What a Hello said, and which stream of which replica said it. Records a change when it said
// something new.
struct AgentConnection {
  std::string agent_id;
  std::string replica_id;
  std::string connection_id;
  sonde::v1::Hello hello;
};
Result<> write_connection(Transaction& tx, const AgentConnection& connection);
// Answers the agents of which that stream still was the newest: they are offline now.
Result<std::vector<std::string>>
end_connections(Transaction& tx, const std::vector<std::string>& connection_ids);

struct AgentLiveness {
  std::string connection_id;
  std::chrono::milliseconds age{0}; // since the agent was last heard
  std::optional<sonde::v1::AgentHealth> health;
};
Result<> write_liveness(Transaction& tx, const std::vector<AgentLiveness>& agents);
// This replica is alive; called every few seconds. Forgets replicas that are long gone.
Result<> write_replica(Transaction& tx, std::string_view replica_id);
Result<> remove_replica(Transaction& tx, std::string_view replica_id);

// Agents as work is given out to them: these, or all that are neither evicted nor banned when there
// are no ids.
Result<std::vector<model::AgentView>>
find_agent_views(Transaction& tx, const std::vector<std::string>& agent_ids);

} // namespace controlplane::store
