#include "controlplane/service/sessions.h"

#include "controlplane/model/cost.h"
#include "controlplane/service/audit.h"
#include "controlplane/service/match.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/sessions.h"

#include <google/protobuf/util/time_util.h>

namespace controlplane::service {
namespace {

using sonde::v1::Session;
using store::Transaction;

std::string resource(const std::string& session_id) { return "sessions/" + session_id; }

// All statements of a read see the same: a state and the counts that it comes from.
constexpr auto kSnapshot = store::Isolation::kRepeatableRead;

// A session without hosts looks fine and never gets a span: say it.
Session explained(Session session) {
  bool waits = session.state() == Session::SCHEDULED && session.summary().hosts() == 0;
  if (waits && session.state_detail().empty())
    session.set_state_detail(
        "no host matches the selector; a host that joins and matches is given the session");
  return session;
}

Result<Session> dry_run(Transaction& tx, Session session) {
  auto match = TRY(match_processes(tx, session));
  *session.mutable_summary() = match.summary;
  *session.mutable_summary()->mutable_estimate() = model::estimate_cost(session);
  session.set_state_detail(match.sentence);
  return session;
}

Result<Session> store_and_assign(
    Transaction& tx, const Caller& caller, const Session& session, const std::string& request_id) {
  auto created = TRY(store::create_session(tx, {session, caller.name, request_id}));
  if (created.repeated) return store::find_session(tx, created.session.id());
  auto match = TRY(match_hosts(tx, created.session));
  TRY(store::assign_agents(tx, created.session.id(), match.agent_ids));
  TRY(audit(tx, caller, "SessionService/CreateSession", resource(created.session.id())));
  return store::find_session(tx, created.session.id());
}

} // namespace

Result<Session> create_session(
    const Caller& caller, const sonde::v1::CreateSessionRequest& request, Services& services) {
  TRY(model::check_request_id(request.request_id()));
  auto session = TRY(model::complete_session(request.session(), services.policy, now(services)));
  auto created = TRY(services.pool.transaction([&](Transaction& tx) {
    return request.validate_only() ? dry_run(tx, session)
                                   : store_and_assign(tx, caller, session, request.request_id());
  }));
  return explained(std::move(created));
}

Result<Session>
get_session(const Caller&, const sonde::v1::GetSessionRequest& request, Services& services) {
  auto session = TRY(services.pool.transaction(
      [&](Transaction& tx) { return store::find_session(tx, request.session_id()); }, kSnapshot));
  return explained(std::move(session));
}

Result<sonde::v1::ListSessionsResponse>
list_sessions(const Caller&, const sonde::v1::ListSessionsRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::list_sessions(tx, request); }, kSnapshot);
}

Result<Session> update_session(
    const Caller& caller, const sonde::v1::UpdateSessionRequest& request, Services& services) {
  const auto& changes = request.session();
  return services.pool.transaction([&](Transaction& tx) -> Result<Session> {
    auto current = TRY(store::lock_session(tx, changes.id()));
    auto updated =
        TRY(model::update_session(current, changes, request.update_mask(), now(services)));
    TRY(store::write_session(tx, updated, changes.etag()));
    TRY(audit(tx, caller, "SessionService/UpdateSession", resource(changes.id())));
    return store::find_session(tx, changes.id());
  });
}

Result<Empty> delete_session(
    const Caller& caller, const sonde::v1::DeleteSessionRequest& request, Services& services) {
  return services.pool.transaction([&](Transaction& tx) -> Result<Empty> {
    TRY(store::delete_session(tx, request.session_id(), request.etag()));
    TRY(audit(tx, caller, "SessionService/DeleteSession", resource(request.session_id())));
    return Empty();
  });
}

Result<Session> stop_session(
    const Caller& caller, const sonde::v1::StopSessionRequest& request, Services& services) {
  return services.pool.transaction([&](Transaction& tx) -> Result<Session> {
    TRY(store::stop_session(tx, request.session_id()));
    TRY(audit(tx, caller, "SessionService/StopSession", resource(request.session_id())));
    return store::find_session(tx, request.session_id());
  });
}

Result<Session> cancel_session(
    const Caller& caller, const sonde::v1::CancelSessionRequest& request, Services& services) {
  return services.pool.transaction([&](Transaction& tx) -> Result<Session> {
    TRY(store::cancel_session(tx, request.session_id()));
    TRY(audit(tx, caller, "SessionService/CancelSession", resource(request.session_id())));
    return store::find_session(tx, request.session_id());
  });
}

Result<Session> extend_session(
    const Caller& caller, const sonde::v1::ExtendSessionRequest& request, Services& services) {
  TRY(model::check_ttl(request.ttl(), "ttl"));
  std::chrono::milliseconds ttl(
      google::protobuf::util::TimeUtil::DurationToMilliseconds(request.ttl()));
  return services.pool.transaction([&](Transaction& tx) -> Result<Session> {
    TRY(store::extend_session(tx, request.session_id(), ttl));
    TRY(audit(tx, caller, "SessionService/ExtendSession", resource(request.session_id())));
    return store::find_session(tx, request.session_id());
  });
}

Result<sonde::v1::ListSessionHostsResponse> list_session_hosts(
    const Caller&, const sonde::v1::ListSessionHostsRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::list_session_hosts(tx, request); }, kSnapshot);
}

} // namespace controlplane::service
