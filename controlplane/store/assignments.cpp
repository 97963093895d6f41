#include "controlplane/store/assignments.h"

#include "controlplane/model/page_token.h"
#include "controlplane/model/session_state.h"
#include "controlplane/model/summary.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/changes.h"
#include "controlplane/store/session_rows.h"
#include "controlplane/store/uuid.h"

#include <limits>
#include <map>
#include <utility>

namespace controlplane::store {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

// The columns are newer than what is in the bytes: OFFLINE is said by a replica, not by the agent.
AssignmentStatus status_of(const Row& row) {
  AssignmentStatus status;
  status.ParseFromString(row.bytes("status"));
  AssignmentStatus::State state = AssignmentStatus::STATE_UNSPECIFIED;
  AssignmentStatus::State_Parse(row.text("state"), &state);
  Reason::Code reason = Reason::CODE_UNSPECIFIED;
  Reason::Code_Parse(row.text("reason"), &reason);
  status.set_state(state);
  status.set_reason(reason);
  status.set_detail(row.text("detail"));
  *status.mutable_update_time() = row.timestamp("update_time");
  return status;
}

Result<std::map<std::string, std::map<std::string, uint64_t>>>
losses_by_agent(Transaction& tx, std::string_view session_id) {
  std::map<std::string, std::map<std::string, uint64_t>> losses;
  for (const Row row : TRY(tx.exec(
           "select agent_id, reason, count from session_losses where session_id = $1", session_id)))
    losses[row.text("agent_id")][row.text("reason")] = static_cast<uint64_t>(row.integer("count"));
  return losses;
}

} // namespace

Result<std::vector<std::string>> assign_agents(
    Transaction& tx, std::string_view session_id, const std::vector<std::string>& agent_ids) {
  std::vector<std::string> added;
  if (agent_ids.empty() || !is_uuid(session_id)) return added;
  auto session =
      TRY(tx.exec("select state, max_hosts from sessions where id = $1 for update", session_id));
  if (session.empty() || !model::is_running(state_named(session.front().text("state"))))
    return added;
  // A statement of its own: one that waited for the lock would count with the snapshot from before.
  auto taken = TRY(
      tx.exec("select count(*) as n from assignment_statuses where session_id = $1", session_id));
  const int64_t max_hosts = session.front().integer("max_hosts");
  const int64_t room = max_hosts == 0
                           ? std::numeric_limits<int32_t>::max()
                           : std::max<int64_t>(0, max_hosts - taken.front().integer("n"));
  for (Row row : TRY(tx.exec(
           "insert into assignment_statuses (session_id, agent_id) "
           "select $1, wanted.id from unnest($2::uuid[]) with ordinality as wanted(id, position) "
           "where not exists (select from assignment_statuses "
           "                  where session_id = $1 and agent_id = wanted.id) "
           "order by position limit $3 on conflict do nothing returning agent_id",
           session_id, agent_ids, room)))
    added.push_back(row.text("agent_id"));
  if (!added.empty()) TRY(record_change(tx, ChangeKind::kSession, session_id));
  return added;
}

Result<std::vector<Assignee>>
find_assignees(Transaction& tx, const std::vector<std::string>& agent_ids) {
  std::vector<Assignee> assignees;
  for (Row row : TRY(tx.exec(
           "select a.session_id, a.agent_id from assignment_statuses a "
           "join sessions s on s.id = a.session_id and s.end_time is null "
           "where $1 or a.agent_id::text = any($2::text[]) order by 1, 2",
           agent_ids.empty(), agent_ids)))
    assignees.push_back({row.text("session_id"), row.text("agent_id")});
  return assignees;
}

Result<int64_t> write_statuses(Transaction& tx, const std::vector<StatusUpdate>& updates) {
  // The last of each, in one order for all writers.
  std::map<std::pair<std::string, std::string>, const AssignmentStatus*> newest;
  for (const StatusUpdate& update : updates)
    newest[{update.session_id, update.agent_id}] = &update.status;
  if (newest.empty()) return 0;
  std::vector<Parameter> sessions, agents, states, reasons, details, bodies, processes, full;
  for (const auto& [key, status] : newest) {
    sessions.emplace_back(key.first);
    agents.emplace_back(key.second);
    states.emplace_back(AssignmentStatus::State_Name(status->state()));
    reasons.emplace_back(
        status->reason() == Reason::CODE_UNSPECIFIED ? std::string()
                                                     : Reason::Code_Name(status->reason()));
    details.emplace_back(status->detail());
    bodies.emplace_back(Bytes{status->SerializeAsString()});
    processes.emplace_back(model::active_processes(*status));
    full.emplace_back(status->has_usage() || status->probes_size() > 0);
  }
  // What is removed keeps what was last known of it: why it was refused, what it cost, what it
  // lost.
  auto rows = TRY(tx.exec(
      "update assignment_statuses a set state = u.state,"
      "  reason = case when u.leaving and u.reason = '' then a.reason else u.reason end,"
      "  detail = case when u.leaving and u.detail = '' then a.detail else u.detail end,"
      "  status = case when u.leaving and not u.is_full then a.status else u.status end,"
      "  processes = u.processes, update_time = now(), xid = pg_current_xact_id() "
      "from (select *, state in ('REMOVING', 'REMOVED', 'EXPIRED') as leaving"
      "      from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[],"
      "                  $7::int[], $8::boolean[])"
      "      as t(session_id, agent_id, state, reason, detail, status, processes, is_full)) u "
      "where a.session_id = u.session_id and a.agent_id = u.agent_id",
      sessions, agents, states, reasons, details, bodies, processes, full));
  return rows.affected();
}

Result<int64_t> write_state(
    Transaction& tx, const std::vector<std::string>& agent_ids, AssignmentStatus::State state) {
  auto rows = TRY(tx.exec(
      "update assignment_statuses a set state = $2, processes = 0, update_time = now(),"
      "  xid = pg_current_xact_id() "
      "from sessions s where s.id = a.session_id and s.end_time is null "
      "and a.agent_id::text = any($1::text[]) and a.state <> $2 "
      "and a.state not in ('REJECTED', 'REMOVED', 'EXPIRED')",
      agent_ids, AssignmentStatus::State_Name(state)));
  return rows.affected();
}

Result<sonde::v1::ListSessionHostsResponse>
list_session_hosts(Transaction& tx, const sonde::v1::ListSessionHostsRequest& request) {
  const int size = TRY(model::page_size(request.page_size()));
  auto key = TRY(model::decode_page_token(request.page_token(), request.session_id(), 1));
  if (!is_uuid(request.session_id())) return session_not_found(request.session_id());
  auto session = TRY(tx.exec("select from sessions where id = $1", request.session_id()));
  if (session.empty()) return session_not_found(request.session_id());
  std::optional<std::string> after;
  if (!key.empty()) after = key[0];
  auto rows = TRY(tx.exec(
      "select a.agent_id, g.hostname, a.state, a.reason, a.detail, a.status, a.update_time,"
      "  coalesce(p.spans, 0) as spans "
      "from assignment_statuses a left join agents g on g.id = a.agent_id "
      "left join session_spans p on p.session_id = a.session_id and p.agent_id = a.agent_id "
      "where a.session_id = $1 and ($2::uuid is null or a.agent_id > $2::uuid) "
      "order by a.agent_id limit $3",
      request.session_id(), after, size + 1));
  auto losses = TRY(losses_by_agent(tx, request.session_id()));
  sonde::v1::ListSessionHostsResponse response;
  for (int i = 0; i < std::min(rows.size(), size); ++i) {
    auto* host = response.add_hosts();
    host->set_agent_id(rows[i].text("agent_id"));
    host->set_hostname(rows[i].text("hostname"));
    *host->mutable_status() = status_of(rows[i]);
    // What arrived, as the session counts it: the host's own word is older.
    if (rows[i].integer("spans") > 0 || host->status().has_usage())
      host->mutable_status()->mutable_usage()->set_spans(
          static_cast<uint64_t>(rows[i].integer("spans")));
    if (auto lost = losses.extract(host->agent_id()))
      model::raise_losses(*host->mutable_status()->mutable_usage(), std::move(lost.mapped()));
  }
  if (rows.size() > size)
    response.set_next_page_token(
        model::encode_page_token({rows[size - 1].text("agent_id")}, request.session_id()));
  return response;
}

} // namespace controlplane::store
