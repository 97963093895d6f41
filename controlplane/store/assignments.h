// Which agents a session was given to, and how far each of them got. An agent without a row here
// does not get the session and may not report for it.
#pragma once

#include "controlplane/store/transaction.h"
#include "sonde/v1/session_service.pb.h"
#include "sonde/v1/status.pb.h"

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// Adds rows in state PENDING for agents that have none, as far as the session's max_hosts allows;
// the session's row is locked meanwhile, so that replicas together do not exceed it. Only for
// running sessions. Answers the agents that were added; records the change when there are any.
Result<std::vector<std::string>> assign_agents(
    Transaction& tx, std::string_view session_id, const std::vector<std::string>& agent_ids);

struct Assignee {
  std::string session_id;
  std::string agent_id;
};
// Of live sessions; of all agents when `agent_ids` is empty.
Result<std::vector<Assignee>>
find_assignees(Transaction& tx, const std::vector<std::string>& agent_ids);

struct StatusUpdate {
  std::string session_id;
  std::string agent_id;
  sonde::v1::AssignmentStatus status;
};
// One statement for all. Of several updates of one assignment the last counts; those of assignments
// that are not there (any more) are dropped. Answers how many rows changed.
Result<int64_t> write_statuses(Transaction& tx, const std::vector<StatusUpdate>& updates);

// All assignments of these agents that are neither final nor in this state become it: OFFLINE when
// a stream ended.
Result<int64_t> write_state(
    Transaction& tx, const std::vector<std::string>& agent_ids,
    sonde::v1::AssignmentStatus::State state);

// By agent id. SESSION_NOT_FOUND, INVALID_PAGE_TOKEN.
Result<sonde::v1::ListSessionHostsResponse>
list_session_hosts(Transaction& tx, const sonde::v1::ListSessionHostsRequest& request);

} // namespace controlplane::store
