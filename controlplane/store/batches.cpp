#include "controlplane/store/batches.h"

#include "controlplane/store/limits.h"
#include "sonde/v1/session.pb.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace controlplane::store {
namespace {

using BatchKey = std::tuple<std::string, std::string, uint64_t>;

// Sums what belongs together, in one order everywhere: two writers never wait for each other in a
// circle.
void sum_up(std::vector<SessionCount>& counts) {
  const auto key = [](const SessionCount& c) {
    return std::tie(c.session_id, c.agent_id, c.reason);
  };
  std::sort(
      counts.begin(), counts.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::vector<SessionCount> sums;
  for (SessionCount& count : counts) {
    if (!sums.empty() && key(sums.back()) == key(count))
      sums.back().count += count.count;
    else
      sums.push_back(std::move(count));
  }
  counts = std::move(sums);
}

Result<void> add_spans(Transaction& tx, const std::vector<SessionCount>& counts) {
  std::vector<Parameter> sessions, agents, numbers;
  for (const SessionCount& count : counts) {
    if (!count.reason.empty()) continue;
    sessions.emplace_back(count.session_id);
    agents.emplace_back(count.agent_id);
    numbers.emplace_back(count.count);
  }
  if (sessions.empty()) return {};
  TRY(tx.exec(
      R"(insert into session_spans (session_id, agent_id, spans)
         select s, a, n from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as new(s, a, n) order by s, a
         on conflict (session_id, agent_id) do update set spans = session_spans.spans + excluded.spans)",
      sessions, agents, numbers));
  return {};
}

Result<void> add_losses(Transaction& tx, const std::vector<SessionCount>& counts) {
  std::vector<Parameter> sessions, agents, reasons, numbers;
  for (const SessionCount& count : counts) {
    if (count.reason.empty()) continue;
    sessions.emplace_back(count.session_id);
    agents.emplace_back(count.agent_id);
    reasons.emplace_back(count.reason);
    numbers.emplace_back(count.count);
  }
  if (sessions.empty()) return {};
  TRY(tx.exec(
      R"(insert into session_losses (session_id, agent_id, reason, count)
         select s, a, r, n from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) as new(s, a, r, n)
         order by s, a, r
         on conflict (session_id, agent_id, reason)
         do update set count = session_losses.count + excluded.count)",
      sessions, agents, reasons, numbers));
  return {};
}

} // namespace

Result<ResultRoute>
find_result_route(Transaction& tx, std::string_view session_id, std::string_view agent_id) {
  const Rows rows = TRY(tx.exec(
      R"(select s.spec, a.hostname from assignment_statuses w
         join sessions s on s.id = w.session_id left join agents a on a.id = w.agent_id
         where w.session_id = $1::uuid and w.agent_id = $2::uuid and s.state <> 'CANCELLED'
           and (s.end_time is null or s.end_time > now() - make_interval(secs => $3)))",
      session_id, agent_id, kLateResultsMax.count()));
  ResultRoute route;
  if (rows.empty()) return route;
  sonde::v1::Session session;
  session.ParseFromString(rows.front().bytes("spec"));
  route.accepted = true;
  route.keep = !session.export_().has_store() || session.export_().store();
  route.destinations.assign(session.export_().otlp().begin(), session.export_().otlp().end());
  route.hostname = rows.front().text("hostname");
  return route;
}

Result<std::vector<bool>> insert_batches(Transaction& tx, std::span<const NewBatch> batches) {
  std::vector<Parameter> agents, boots, numbers, sessions, spans;
  for (const NewBatch& batch : batches) {
    agents.emplace_back(batch.agent_id);
    boots.emplace_back(batch.boot_id);
    numbers.emplace_back(batch.batch);
    sessions.emplace_back(batch.session_id);
    spans.emplace_back(batch.spans);
  }
  // In one order everywhere: a row that another replica is about to commit is waited for here.
  const Rows rows = TRY(tx.exec(
      R"(insert into result_batches (agent_id, boot_id, batch, session_id, spans)
         select a, b, n, s, c
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::int[]) as new(a, b, n, s, c)
         order by a, b, n
         on conflict do nothing returning agent_id, boot_id, batch)",
      agents, boots, numbers, sessions, spans));
  std::set<BatchKey> inserted;
  for (const Row row : rows)
    inserted.emplace(row.text("agent_id"), row.text("boot_id"), row.integer("batch"));
  std::vector<bool> fresh;
  for (const NewBatch& batch : batches)
    fresh.push_back(inserted.erase({batch.agent_id, batch.boot_id, batch.batch}) != 0);
  return fresh;
}

Result<void> add_session_counts(Transaction& tx, std::vector<SessionCount> counts) {
  sum_up(counts);
  TRY(add_spans(tx, counts));
  return add_losses(tx, counts);
}

Result<std::map<std::string, SessionTotals>>
find_session_totals(Transaction& tx, const std::vector<std::string>& session_ids) {
  std::map<std::string, SessionTotals> totals;
  const Rows spans = TRY(tx.exec(
      "select session_id, sum(spans)::bigint as spans from session_spans "
      "where session_id = any($1::uuid[]) group by session_id",
      session_ids));
  for (const Row row : spans) totals[row.text("session_id")].spans = row.integer("spans");
  const Rows losses = TRY(tx.exec(
      "select session_id, reason, sum(count)::bigint as count from session_losses "
      "where session_id = any($1::uuid[]) group by session_id, reason",
      session_ids));
  for (const Row row : losses)
    totals[row.text("session_id")].losses[row.text("reason")] = row.integer("count");
  return totals;
}

Result<void> delete_session_results(Transaction& tx, std::string_view session_id) {
  TRY(tx.exec("delete from spans where session_id = $1::uuid", session_id));
  TRY(tx.exec("delete from trace_aliases where session_id = $1::uuid", session_id));
  TRY(tx.exec("delete from session_spans where session_id = $1::uuid", session_id));
  TRY(tx.exec("delete from session_losses where session_id = $1::uuid", session_id));
  return {};
}

namespace {

// Assignments and counts go with it; its spans went with their days.
Result<> delete_old_sessions(Transaction& tx, int days, Maintained& done) {
  const Rows deleted = TRY(tx.exec(
      R"(delete from sessions where id in (
           select id from sessions where end_time < now() - make_interval(days => $1::int)
           order by end_time limit $2::int for update skip locked)
         returning id)",
      days, kDeletedRowsMax));
  done.sessions = deleted.size();
  done.more |= deleted.size() == kDeletedRowsMax;
  return {};
}

Result<> delete_old_audit_events(Transaction& tx, int days, Maintained& done) {
  const Rows deleted = TRY(tx.exec(
      R"(delete from audit_events where id in (
           select id from audit_events where event_time < now() - make_interval(days => $1::int)
           order by event_time limit $2::int for update skip locked)
         returning id)",
      days, kDeletedRowsMax));
  done.audit_events = deleted.size();
  done.more |= deleted.size() == kDeletedRowsMax;
  return {};
}

} // namespace

Result<Maintained> maintain_results(Transaction& tx, const Retention& retention) {
  // Waiting for a reader's lock would make every other reader wait behind us.
  TRY(tx.exec("set local lock_timeout = '2s'"));
  TRY(tx.exec("select prepare_result_days($1::int)", retention.days_ahead));
  const Rows old = TRY(tx.exec(
      R"(select c.relname as name from pg_inherits i
         join pg_class c on c.oid = i.inhrelid join pg_class p on p.oid = i.inhparent
         where p.relname in ('spans', 'resources') and c.relname ~ '_[0-9]{8}$'
           and to_date(right(c.relname, 8), 'YYYYMMDD') < (now() at time zone 'utc')::date - $1::int
         order by 1)",
      retention.span_days));
  Maintained done;
  for (const Row row : old) {
    // Nothing but letters, digits and _: the pattern above.
    TRY(tx.exec("drop table " + row.text("name")));
    done.days.push_back(row.text("name"));
  }
  TRY(tx.exec(
      "delete from result_batches where receive_time < now() - make_interval(hours => $1::int)",
      retention.batch_hours.count()));
  TRY(tx.exec(
      "delete from trace_aliases where create_time < now() - make_interval(days => $1::int)",
      retention.span_days + 1));
  TRY(delete_old_sessions(tx, std::max(retention.session_days, retention.span_days + 1), done));
  TRY(delete_old_audit_events(tx, retention.audit_days, done));
  // Of sessions that were deleted while their last batches came in.
  TRY(tx.exec("delete from session_spans t where not exists "
              "(select from sessions s where s.id = t.session_id)"));
  TRY(tx.exec("delete from session_losses t where not exists "
              "(select from sessions s where s.id = t.session_id)"));
  return done;
}

} // namespace controlplane::store
