#include "controlplane/store/session_rows.h"

#include "controlplane/model/summary.h"
#include "controlplane/store/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace controlplane::store {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;
using sonde::v1::Session;

template <class Enum>
Enum parse(bool (*parser)(google::protobuf::ConstStringParam, Enum*), const std::string& name) {
  Enum value{};
  parser(name, &value);
  return value;
}

std::vector<std::string> ids_of(const std::vector<Session>& sessions) {
  std::vector<std::string> ids;
  for (const Session& session : sessions) ids.push_back(session.id());
  return ids;
}

using HostOfSession = std::pair<std::string, std::string>; // session and agent

// That came with results.
Result<std::map<HostOfSession, std::map<std::string, uint64_t>>>
losses_by_host(Transaction& tx, const std::vector<std::string>& ids) {
  std::map<HostOfSession, std::map<std::string, uint64_t>> losses;
  for (const Row row : TRY(tx.exec(
           "select session_id, agent_id, reason, count from session_losses "
           "where session_id = any($1::uuid[])",
           ids)))
    losses[{row.text("session_id"), row.text("agent_id")}][row.text("reason")] =
        static_cast<uint64_t>(row.integer("count"));
  return losses;
}

Result<> add_usage(
    Transaction& tx, std::map<std::string, sonde::v1::SessionSummary>& summaries,
    const std::vector<std::string>& ids) {
  auto losses = TRY(losses_by_host(tx, ids));
  for (Row row : TRY(tx.exec(
           "select session_id, agent_id, status from assignment_statuses "
           "where session_id = any($1::uuid[])",
           ids))) {
    AssignmentStatus status;
    if (!status.ParseFromString(row.bytes("status")) || !status.has_usage()) continue;
    auto& usage = *status.mutable_usage();
    const auto lost = losses.find({row.text("session_id"), row.text("agent_id")});
    if (lost != losses.end()) model::raise_losses(usage, lost->second);
    model::add_usage(*summaries[row.text("session_id")].mutable_usage(), usage);
  }
  return {};
}

Result<> add_totals(
    Transaction& tx, std::map<std::string, sonde::v1::SessionSummary>& summaries,
    const std::vector<std::string>& ids) {
  for (const auto& [id, totals] : TRY(find_session_totals(tx, ids))) {
    summaries[id].set_spans(totals.spans);
    if (summaries[id].has_usage()) summaries[id].mutable_usage()->set_spans(totals.spans);
    if (!totals.losses.empty()) model::raise_losses(*summaries[id].mutable_usage(), totals.losses);
  }
  return {};
}

} // namespace

Result<Session> session_of(const Row& row) {
  Session session;
  if (!session.ParseFromString(row.bytes("spec")))
    return base::internal("session " + row.text("id") + " in the store cannot be read");
  session.set_id(row.text("id"));
  session.set_display_name(row.text("display_name"));
  session.set_state(state_named(row.text("state")));
  session.set_state_detail(row.text("state_detail"));
  *session.mutable_create_time() = row.timestamp("create_time");
  if (!row.is_null("start_time")) *session.mutable_start_time() = row.timestamp("start_time");
  if (!row.is_null("end_time")) *session.mutable_end_time() = row.timestamp("end_time");
  *session.mutable_update_time() = row.timestamp("update_time");
  *session.mutable_expire_time() = row.timestamp("expire_time");
  session.set_created_by(row.text("created_by"));
  session.set_etag(row.text("revision"));
  return session;
}

model::SessionState state_named(const std::string& name) {
  return parse<Session::State>(&Session::State_Parse, name);
}

base::Error session_not_found(std::string_view session_id) {
  return base::not_found("SESSION_NOT_FOUND", fmt::format("there is no session '{}'", session_id));
}

Result<> add_summaries(Transaction& tx, std::vector<Session>& sessions, Detail detail) {
  if (sessions.empty()) return {};
  const auto ids = ids_of(sessions);
  std::map<std::string, std::vector<model::StatusCount>> counts;
  for (Row row : TRY(tx.exec(
           "select session_id, state, reason, count(*) as hosts, sum(processes) as processes "
           "from assignment_statuses where session_id = any($1::uuid[]) group by 1, 2, 3",
           ids)))
    counts[row.text("session_id")].push_back(
        {parse<AssignmentStatus::State>(&AssignmentStatus::State_Parse, row.text("state")),
         parse<Reason::Code>(&Reason::Code_Parse, row.text("reason")),
         static_cast<int>(row.integer("hosts")), static_cast<int>(row.integer("processes"))});
  std::map<std::string, sonde::v1::SessionSummary> summaries;
  for (const auto& id : ids) summaries[id] = model::roll_up(counts[id]);
  if (detail == Detail::kWithUsage) TRY(add_usage(tx, summaries, ids));
  TRY(add_totals(tx, summaries, ids));
  for (Session& session : sessions) *session.mutable_summary() = std::move(summaries[session.id()]);
  return {};
}

} // namespace controlplane::store
