// Sessions: what was asked for, and how far it got. All functions run in the caller's transaction;
// those that change a session record the change for the replicas. Ids that are no UUID are
// SESSION_NOT_FOUND too.
#pragma once

#include "controlplane/model/session_state.h"
#include "controlplane/store/transaction.h"
#include "sonde/v1/session_service.pb.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

struct NewSession {
  sonde::v1::Session session; // from model::complete_session
  std::string created_by;
  std::string request_id; // may be empty
};
struct CreatedSession {
  sonde::v1::Session session;
  bool repeated = false; // the same request was answered before: nothing was stored
};
// SCHEDULED, with a new id; hosts come with assign_agents(). REQUEST_ID_REUSED (ALREADY_EXISTS)
// when the same caller used the request id for another session.
Result<CreatedSession> create_session(Transaction& tx, const NewSession& request);

// With its summary. SESSION_NOT_FOUND.
Result<sonde::v1::Session> find_session(Transaction& tx, std::string_view session_id);
// The same without summary, and locked until the end of the transaction: to change what was read.
Result<sonde::v1::Session> lock_session(Transaction& tx, std::string_view session_id);

// Newest first. Filter fields: state, created_by, display_name, create_time, expire_time.
// INVALID_FILTER, INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListSessionsResponse>
list_sessions(Transaction& tx, const sonde::v1::ListSessionsRequest& request);

// Replaces what model::update_session changed: display name, spec, expiration. ETAG_MISMATCH
// (ABORTED) when `etag` is not empty and not the current one; SESSION_ENDED (FAILED_PRECONDITION)
// when it no longer runs.
Result<sonde::v1::Session>
write_session(Transaction& tx, const sonde::v1::Session& session, std::string_view etag);

// Ends after `ttl` from now, whatever was set before. SESSION_ENDED.
Result<sonde::v1::Session>
extend_session(Transaction& tx, std::string_view session_id, std::chrono::milliseconds ttl);
// STOPPING, and SUCCEEDED when results are in. A session that is stopping or over already is
// answered as it is.
Result<sonde::v1::Session> stop_session(Transaction& tx, std::string_view session_id);
// CANCELLED at once. SESSION_ENDED when it ended otherwise before.
Result<sonde::v1::Session> cancel_session(Transaction& tx, std::string_view session_id);
// With all its results. SESSION_RUNNING (FAILED_PRECONDITION) when it has not ended, ETAG_MISMATCH.
Result<> delete_session(Transaction& tx, std::string_view session_id, std::string_view etag);

// The sessions that agents may have to know of: not final, oldest first, without summaries.
Result<std::vector<sonde::v1::Session>> find_live_sessions(Transaction& tx);
// Those of these ids that exist, in any state, without summaries.
Result<std::vector<sonde::v1::Session>>
find_sessions(Transaction& tx, const std::vector<std::string>& session_ids);

// Every transition that is due by itself, of all live sessions: hosts came or became active, time
// is over, removal is confirmed or `stop_timeout` has passed. Replicas may call it at the same
// time: a session is moved once. Answers the ids of those that moved.
Result<std::vector<std::string>>
advance_sessions(Transaction& tx, std::chrono::milliseconds stop_timeout);

} // namespace controlplane::store
