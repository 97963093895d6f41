// What administrators do to join tokens and agents: the use cases of JoinTokenService, and the
// changing ones of AgentService. They block on the store; the caller was authorized already.
#pragma once

#include "base/result.h"
#include "controlplane/identity/authority.h"
#include "controlplane/model/caller.h"
#include "controlplane/store/pool.h"
#include "sonde/v1/agent_service.pb.h"
#include "sonde/v1/join_token_service.pb.h"

namespace controlplane::identity {

// The answer is the only place where the token itself is ever seen. Invalid labels or times:
// INVALID_LABEL, INVALID_TTL, INVALID_EXPIRE_TIME. A repeated `request_id` is refused
// (ALREADY_EXISTS, REQUEST_ID_USED): the secret cannot be told again.
base::Result<sonde::v1::JoinToken> create_join_token(
    const model::Caller& caller, const sonde::v1::CreateJoinTokenRequest& request,
    const Authority& authority, store::Pool& pool);
// Newest first. INVALID_PAGE_TOKEN.
base::Result<sonde::v1::ListJoinTokensResponse>
list_join_tokens(const sonde::v1::ListJoinTokensRequest& request, store::Pool& pool);
// NOT_FOUND JOIN_TOKEN_NOT_FOUND.
base::Result<> delete_join_token(const std::string& join_token_id, store::Pool& pool);

// All AGENT_NOT_FOUND for an unknown id. Live streams of an evicted or banned agent end at once, on
// all replicas.
base::Result<sonde::v1::Agent> get_agent(const std::string& agent_id, store::Pool& pool);
// Filter: state, hostname, version, kernel with = and !=, joined by AND. INVALID_FILTER,
// INVALID_PAGE_TOKEN.
base::Result<sonde::v1::ListAgentsResponse>
list_agents(const sonde::v1::ListAgentsRequest& request, store::Pool& pool);
// Replaces assigned_labels; another path in the mask is INVALID_UPDATE_MASK, a stale etag ABORTED
// (ETAG_MISMATCH).
base::Result<sonde::v1::Agent>
update_agent(const sonde::v1::UpdateAgentRequest& request, store::Pool& pool);
// AGENT_BANNED, AGENT_EVICTED (FAILED_PRECONDITION) for those that are out already.
base::Result<sonde::v1::Agent> drain_agent(const std::string& agent_id, store::Pool& pool);
base::Result<sonde::v1::Agent> evict_agent(const std::string& agent_id, store::Pool& pool);
base::Result<sonde::v1::Agent> ban_agent(const std::string& agent_id, store::Pool& pool);

} // namespace controlplane::identity
