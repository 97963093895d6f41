#include "controlplane/store/sessions.h"

#include "base/check.h"
#include "base/hex.h"
#include "controlplane/model/desired_state.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/batches.h"
#include "controlplane/store/changes.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/session_rows.h"
#include "controlplane/store/uuid.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

namespace controlplane::store {
namespace {

using model::SessionState;
using sonde::v1::Session;

base::Error session_ended(SessionState state) {
  return base::failed_precondition(
      "SESSION_ENDED", fmt::format("the session is {} already", Session::State_Name(state)));
}

// Only from the state that was read: of two replicas that take the same step, one does.
Result<bool> transition(
    Transaction& tx, const Session& session, SessionState to, std::string_view detail,
    SessionState ending) {
  CHECK(model::may_become(session.state(), to));
  auto rows = TRY(tx.exec(
      "update sessions set state = $3, ending = $5,"
      // What ended it is still the reason when it is finalized.
      "  state_detail = case when $6 and $4 = '' then state_detail else $4 end,"
      "  start_time = case when $3 = 'ACTIVE' then coalesce(start_time, now()) else start_time end,"
      "  stop_time = case when $3 = 'STOPPING' then now() else stop_time end,"
      "  end_time = case when $6 then now() end,"
      "  update_time = now(), revision = revision + 1, xid = pg_current_xact_id() "
      "where id = $1 and state = $2",
      session.id(), Session::State_Name(session.state()), Session::State_Name(to), detail,
      ending == Session::STATE_UNSPECIFIED ? std::string() : Session::State_Name(ending),
      model::is_final(to)));
  if (rows.affected() == 0) return false;
  TRY(record_change(tx, ChangeKind::kSession, session.id()));
  return true;
}

// What the author chose. State, times and names are columns.
std::string spec_of(const Session& session) {
  Session spec;
  *spec.mutable_selector() = session.selector();
  *spec.mutable_probes() = session.probes();
  *spec.mutable_sampling() = session.sampling();
  *spec.mutable_budget() = session.budget();
  spec.set_propagation(session.propagation());
  *spec.mutable_export_() = session.export_();
  return spec.SerializeAsString();
}

// Either a time, or a duration that PostgreSQL's clock starts now.
struct Expiration {
  explicit Expiration(const Session& session) {
    if (session.has_expire_time()) time = session.expire_time();
    if (session.has_ttl())
      milliseconds = google::protobuf::util::TimeUtil::DurationToMilliseconds(session.ttl());
  }
  std::optional<google::protobuf::Timestamp> time;
  int64_t milliseconds = 0;
};

} // namespace

Result<CreatedSession> create_session(Transaction& tx, const NewSession& request) {
  const Session& session = request.session;
  const std::string sha256 = base::sha256(model::content_version(session));
  const Expiration expiration(session);
  std::optional<std::string> request_id;
  if (!request.request_id.empty()) request_id = request.request_id;
  auto rows = TRY(tx.exec(
      std::string("insert into sessions (id, spec, display_name, state, max_hosts, expire_time,"
                  "  created_by, request_id, request_sha256) "
                  "values ($1, $2, $3, 'SCHEDULED', $4,"
                  "  coalesce($5::timestamptz, now() + $6 * interval '1 millisecond'), $7, $8, $9) "
                  "on conflict (created_by, request_id) where request_id is not null do nothing "
                  "returning ") +
          kSessionColumns,
      base::new_uuid(), Bytes{spec_of(session)}, session.display_name(),
      session.selector().max_hosts(), expiration.time, expiration.milliseconds, request.created_by,
      request_id, Bytes{sha256}));
  if (!rows.empty()) {
    CreatedSession created{TRY(session_of(rows.front())), false};
    TRY(record_change(tx, ChangeKind::kSession, created.session.id()));
    return created;
  }
  rows = TRY(tx.exec(
      std::string("select ") + kSessionColumns +
          ", request_sha256 from sessions where created_by = $1 and request_id = $2",
      request.created_by, request_id));
  if (rows.empty() || rows.front().bytes("request_sha256") != sha256) return request_id_reused();
  return CreatedSession{TRY(session_of(rows.front())), true};
}

Result<Session> find_session(Transaction& tx, std::string_view session_id) {
  if (!is_uuid(session_id)) return session_not_found(session_id);
  auto rows = TRY(tx.exec(
      std::string("select ") + kSessionColumns + " from sessions where id = $1", session_id));
  if (rows.empty()) return session_not_found(session_id);
  std::vector<Session> sessions{TRY(session_of(rows.front()))};
  TRY(add_summaries(tx, sessions, Detail::kWithUsage));
  return std::move(sessions.front());
}

Result<Session> lock_session(Transaction& tx, std::string_view session_id) {
  if (!is_uuid(session_id)) return session_not_found(session_id);
  auto rows = TRY(tx.exec(
      std::string("select ") + kSessionColumns + " from sessions where id = $1 for update",
      session_id));
  if (rows.empty()) return session_not_found(session_id);
  return session_of(rows.front());
}

Result<sonde::v1::ListSessionsResponse>
list_sessions(Transaction& tx, const sonde::v1::ListSessionsRequest& request) {
  static constexpr std::string_view kStates[] = {"SCHEDULED", "STARTING", "ACTIVE",    "STOPPING",
                                                 "SUCCEEDED", "FAILED",   "CANCELLED", "EXPIRED"};
  static const FilterColumn kColumns[] = {
      {{"state", model::FilterType::kText, kStates}, "state"},
      {{"created_by"}, "created_by"},
      {{"display_name"}, "display_name"},
      {{"create_time", model::FilterType::kTime}, "create_time"},
      {{"expire_time", model::FilterType::kTime}, "expire_time"}};
  std::vector<Parameter> parameters;
  std::string select = std::string("select ") + kSessionColumns + " from sessions where true" +
                       TRY(filter_conditions(request.filter(), kColumns, parameters));
  const Page page = TRY(newest_first(
      tx, std::move(select), std::move(parameters),
      {.size = request.page_size(), .token = request.page_token(), .query = request.filter()}));
  std::vector<Session> sessions;
  for (const Row& row : page.rows) sessions.push_back(TRY(session_of(row)));
  TRY(add_summaries(tx, sessions, Detail::kCounts));
  sonde::v1::ListSessionsResponse response;
  for (Session& session : sessions) *response.add_sessions() = std::move(session);
  response.set_next_page_token(page.next_page_token);
  return response;
}

Result<Session> write_session(Transaction& tx, const Session& session, std::string_view etag) {
  Session current = TRY(lock_session(tx, session.id()));
  TRY(check_etag(current.etag(), etag));
  if (!model::is_running(current.state())) return session_ended(current.state());
  const Expiration expiration(session);
  auto rows = TRY(tx.exec(
      std::string(
          "update sessions set spec = $2, display_name = $3,"
          "  expire_time = coalesce($4::timestamptz, now() + $5 * interval '1 millisecond'),"
          "  update_time = now(), revision = revision + 1, xid = pg_current_xact_id() "
          "where id = $1 returning ") +
          kSessionColumns,
      session.id(), Bytes{spec_of(session)}, session.display_name(), expiration.time,
      expiration.milliseconds));
  TRY(record_change(tx, ChangeKind::kSession, session.id()));
  return session_of(rows.front());
}

Result<Session>
extend_session(Transaction& tx, std::string_view session_id, std::chrono::milliseconds ttl) {
  Session current = TRY(lock_session(tx, session_id));
  if (!model::is_running(current.state())) return session_ended(current.state());
  auto rows = TRY(tx.exec(
      std::string("update sessions set expire_time = now() + $2 * interval '1 millisecond',"
                  "  update_time = now(), revision = revision + 1, xid = pg_current_xact_id() "
                  "where id = $1 returning ") +
          kSessionColumns,
      session_id, ttl.count()));
  TRY(record_change(tx, ChangeKind::kSession, session_id));
  return session_of(rows.front());
}

Result<Session> stop_session(Transaction& tx, std::string_view session_id) {
  Session current = TRY(lock_session(tx, session_id));
  if (!model::is_running(current.state())) return find_session(tx, session_id);
  TRY(transition(tx, current, Session::STOPPING, "stopped", Session::SUCCEEDED));
  return find_session(tx, session_id);
}

Result<Session> cancel_session(Transaction& tx, std::string_view session_id) {
  Session current = TRY(lock_session(tx, session_id));
  if (current.state() == Session::CANCELLED) return find_session(tx, session_id);
  if (model::is_final(current.state())) return session_ended(current.state());
  TRY(transition(tx, current, Session::CANCELLED, "cancelled", Session::CANCELLED));
  return find_session(tx, session_id);
}

Result<> delete_session(Transaction& tx, std::string_view session_id, std::string_view etag) {
  Session current = TRY(lock_session(tx, session_id));
  TRY(check_etag(current.etag(), etag));
  if (!model::is_final(current.state()))
    return base::failed_precondition(
        "SESSION_RUNNING",
        fmt::format(
            "the session is {}: stop or cancel it first", Session::State_Name(current.state())));
  TRY(delete_session_results(tx, session_id));
  TRY(tx.exec("delete from sessions where id = $1", session_id));
  return record_change(tx, ChangeKind::kSession, session_id);
}

Result<std::vector<Session>> find_live_sessions(Transaction& tx) {
  std::vector<Session> sessions;
  for (Row row : TRY(tx.exec(
           std::string("select ") + kSessionColumns +
           " from sessions where end_time is null order by create_time, id")))
    sessions.push_back(TRY(session_of(row)));
  return sessions;
}

Result<std::vector<Session>>
find_sessions(Transaction& tx, const std::vector<std::string>& session_ids) {
  std::vector<Session> sessions;
  for (Row row : TRY(tx.exec(
           std::string("select ") + kSessionColumns +
               " from sessions where id::text = any($1::text[]) order by create_time, id",
           session_ids)))
    sessions.push_back(TRY(session_of(row)));
  return sessions;
}

Result<std::vector<std::string>>
advance_sessions(Transaction& tx, std::chrono::milliseconds stop_timeout) {
  std::vector<std::string> moved;
  for (Row row : TRY(tx.exec(
           "select s.id, s.state, s.ending, s.expire_time <= now() as expired,"
           "  coalesce(s.stop_time <= now() - $1 * interval '1 millisecond', false) as timed_out,"
           "  count(a.agent_id) as hosts,"
           "  count(*) filter (where a.state in ('ACTIVE', 'PARTIAL')) as active,"
           "  count(*) filter (where a.state in ('SENT', 'APPLYING', 'REMOVING', 'STALE')) as "
           "waiting,"
           "  count(*) filter (where a.state = 'REJECTED') as refused,"
           "  mode() within group (order by a.reason) filter (where a.state = 'REJECTED') as "
           "refusal "
           "from sessions s left join assignment_statuses a on a.session_id = s.id "
           "where s.end_time is null group by s.id order by s.id",
           stop_timeout.count()))) {
    Session session;
    session.set_id(row.text("id"));
    session.set_state(state_named(row.text("state")));
    const auto step = model::next_step(
        {.state = session.state(),
         .expired = row.boolean("expired"),
         .stop_timed_out = row.boolean("timed_out"),
         .hosts = static_cast<int>(row.integer("hosts")),
         .active = static_cast<int>(row.integer("active")),
         .waiting = static_cast<int>(row.integer("waiting")),
         .refused = static_cast<int>(row.integer("refused")),
         .refusal = row.text("refusal")},
        state_named(row.text("ending")));
    if (step.state == session.state()) continue;
    if (TRY(transition(tx, session, step.state, step.detail, step.ending)))
      moved.push_back(session.id());
  }
  return moved;
}

} // namespace controlplane::store
