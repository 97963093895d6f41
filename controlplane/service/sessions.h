// The use cases of SessionService.
#pragma once

#include "controlplane/model/caller.h"
#include "controlplane/service/services.h"
#include "sonde/v1/session_service.pb.h"

#include <google/protobuf/empty.pb.h>

namespace controlplane::service {

using base::Result;
using google::protobuf::Empty;
using model::Caller;

// With validate_only nothing is stored, and the answer's summary says what would match. A session
// that matches nothing is created all the same (hosts may join): summary.hosts is 0 and
// state_detail says so. Refusals are those of model::complete_session, match_hosts and
// store::create_session.
Result<sonde::v1::Session> create_session(
    const Caller& caller, const sonde::v1::CreateSessionRequest& request, Services& services);
Result<sonde::v1::Session>
get_session(const Caller& caller, const sonde::v1::GetSessionRequest& request, Services& services);
Result<sonde::v1::ListSessionsResponse> list_sessions(
    const Caller& caller, const sonde::v1::ListSessionsRequest& request, Services& services);
// session.etag, when given, must be the current one (ETAG_MISMATCH).
Result<sonde::v1::Session> update_session(
    const Caller& caller, const sonde::v1::UpdateSessionRequest& request, Services& services);
Result<Empty> delete_session(
    const Caller& caller, const sonde::v1::DeleteSessionRequest& request, Services& services);
Result<sonde::v1::Session> stop_session(
    const Caller& caller, const sonde::v1::StopSessionRequest& request, Services& services);
Result<sonde::v1::Session> cancel_session(
    const Caller& caller, const sonde::v1::CancelSessionRequest& request, Services& services);
Result<sonde::v1::Session> extend_session(
    const Caller& caller, const sonde::v1::ExtendSessionRequest& request, Services& services);
Result<sonde::v1::ListSessionHostsResponse> list_session_hosts(
    const Caller& caller, const sonde::v1::ListSessionHostsRequest& request, Services& services);

} // namespace controlplane::service
