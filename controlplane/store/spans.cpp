#include "controlplane/store/spans.h"

#include "controlplane/store/lists.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace controlplane::store {
namespace {

using model::FilterCondition;
using model::FilterField;
using model::FilterOperator;
using model::FilterType;

constexpr std::array<std::string_view, 5> kKinds = {
    "SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER"};
constexpr std::array<std::string_view, 3> kStatuses = {"UNSET", "OK", "ERROR"};
const std::array<FilterField, 6> kFilterFields = {{
    {"name"},
    {"kind", FilterType::kText, kKinds},
    {"status", FilterType::kText, kStatuses},
    {"service"},
    {"trace_id"},
    {"duration", FilterType::kDuration},
}};

// Column list of SpanRow, for spans under the name s.
constexpr std::string_view kSpanColumns = R"(
  s.trace_id, s.span_id, s.parent_span_id, s.name, s.kind, s.status, s.service, s.agent_id, s.hostname,
  s.pid, s.start_unix_nanos, s.duration_nanos, s.span, s.xid::text as xid, s.position,
  coalesce((select a.root_trace_id from trace_aliases a
            where a.session_id = s.session_id and a.trace_id = s.trace_id), s.trace_id) as root_trace_id)";

SpanRow span_row(const Row& row) {
  SpanRow span;
  span.trace_id = row.bytes("trace_id");
  span.root_trace_id = row.bytes("root_trace_id");
  span.span_id = row.bytes("span_id");
  span.parent_span_id = row.bytes("parent_span_id");
  span.name = row.text("name");
  span.kind = row.text("kind");
  span.status = row.text("status");
  span.service = row.text("service");
  span.agent_id = row.text("agent_id");
  span.hostname = row.text("hostname");
  span.pid = row.integer("pid");
  span.start_unix_nanos = row.integer("start_unix_nanos");
  span.duration_nanos = row.integer("duration_nanos");
  span.span = row.bytes("span");
  span.xid = std::stoull(row.text("xid"));
  span.position = row.integer("position");
  return span;
}

std::string_view sql_of(FilterOperator op) {
  switch (op) {
  case FilterOperator::kEqual:
    return " = ";
  case FilterOperator::kNotEqual:
    return " <> ";
  case FilterOperator::kLess:
    return " < ";
  case FilterOperator::kLessOrEqual:
    return " <= ";
  case FilterOperator::kGreater:
    return " > ";
  case FilterOperator::kGreaterOrEqual:
    return " >= ";
  }
  return " = ";
}

// Fields are names of columns: they came through parse_filter with the fields above.
void add_condition(
    const FilterCondition& condition, std::string& sql, std::vector<Parameter>& parameters) {
  const bool glob = condition.field != "duration" && is_glob(condition.value);
  parameters.emplace_back(glob ? like_pattern(condition.value) : condition.value);
  const std::string number = "$" + std::to_string(parameters.size());
  const std::string op(
      !glob                                       ? sql_of(condition.op)
      : condition.op == FilterOperator::kNotEqual ? " not like "
                                                  : " like ");
  sql += " and ";
  if (condition.field == "duration")
    sql += "s.duration_nanos" + op + "(" + number + "::numeric * 1000000000)";
  else if (condition.field == "trace_id")
    sql += "encode(s.trace_id, 'hex')" + op + "lower(" + number + ")";
  else
    sql += "s." + condition.field + op + number;
}

// Rows of a session between two snapshots, behind a position: $1 … $5.
constexpr std::string_view kArrivalsWhere = R"(
  s.session_id = $1::uuid
  and s.xid >= pg_snapshot_xmin($2::pg_snapshot) and s.xid < pg_snapshot_xmax($3::pg_snapshot)
  and not pg_visible_in_snapshot(s.xid, $2::pg_snapshot)
  and pg_visible_in_snapshot(s.xid, $3::pg_snapshot)
  and (s.xid, s.position) > ($4::text::xid8, $5::int))";

Result<std::string> current_snapshot(Transaction& tx) {
  const Rows rows = TRY(tx.exec("select pg_current_snapshot()::text as snapshot"));
  return rows.front().text("snapshot");
}

bool is_snapshot(std::string_view text) {
  return !text.empty() && text.size() < 4096 && std::count(text.begin(), text.end(), ':') == 2 &&
         text.find_first_not_of("0123456789:,") == std::string_view::npos;
}

template <class Number> bool parse_number(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

} // namespace

Result<void> insert_resources(Transaction& tx, std::span<const NewResource> resources) {
  if (resources.empty()) return {};
  std::vector<Parameter> hashes, bodies;
  for (const NewResource& resource : resources) {
    hashes.emplace_back(Bytes{resource.sha256});
    bodies.emplace_back(Bytes{resource.resource});
  }
  TRY(tx.exec(
      "insert into resources (sha256, resource) "
      "select h, r from unnest($1::bytea[], $2::bytea[]) as new(h, r) order by h on conflict do "
      "nothing",
      hashes, bodies));
  return {};
}

Result<void> copy_spans(Transaction& tx, std::span<const NewSpan> spans) {
  if (spans.empty()) return {};
  static const std::vector<std::string> kColumns = {
      "session_id",     "trace_id",        "span_id",  "parent_span_id", "name", "kind",
      "status",         "service",         "agent_id", "hostname",       "pid",  "start_unix_nanos",
      "duration_nanos", "resource_sha256", "span",     "position"};
  std::vector<std::vector<Parameter>> rows;
  rows.reserve(spans.size());
  int64_t position = 0;
  for (const NewSpan& span : spans)
    rows.push_back(
        {span.session_id, Bytes{span.trace_id}, Bytes{span.span_id}, Bytes{span.parent_span_id},
         span.name, span.kind, span.status, span.service, span.agent_id, span.hostname, span.pid,
         span.start_unix_nanos, span.duration_nanos, Bytes{span.resource_sha256}, Bytes{span.span},
         position++});
  return tx.copy("spans", kColumns, rows);
}

std::span<const FilterField> span_filter_fields() { return kFilterFields; }

Result<std::vector<SpanRow>> find_spans(
    Transaction& tx, std::string_view session_id, const std::vector<FilterCondition>& conditions,
    const std::optional<PageKey>& after, int limit) {
  std::string sql =
      "select " + std::string(kSpanColumns) + " from spans s where s.session_id = $1::uuid";
  std::vector<Parameter> parameters = {session_id};
  for (const FilterCondition& condition : conditions) add_condition(condition, sql, parameters);
  if (after) {
    parameters.emplace_back(after->start_unix_nanos);
    parameters.emplace_back(Bytes{after->id});
    const size_t last = parameters.size();
    sql += " and (s.start_unix_nanos, s.span_id) < ($" + std::to_string(last - 1) + "::bigint, $" +
           std::to_string(last) + "::bytea)";
  }
  parameters.emplace_back(limit);
  sql += " order by s.start_unix_nanos desc, s.span_id desc limit $" +
         std::to_string(parameters.size()) + "::int";
  const Rows rows = TRY(tx.run(sql, parameters));
  std::vector<SpanRow> spans;
  for (const Row row : rows) spans.push_back(span_row(row));
  return spans;
}

namespace {

// One row per trace: its first span. An earlier span of the same trace, or another trace that it is
// joined to, takes its place.
Result<std::vector<TraceRow>> find_first_spans(
    Transaction& tx, std::string_view session_id, const std::optional<PageKey>& after, int limit) {
  const Rows rows = TRY(tx.exec(
      R"(select s.trace_id, s.span_id, s.start_unix_nanos from spans s
         where s.session_id = $1::uuid
           and ($2::bigint is null or (s.start_unix_nanos, s.span_id) < ($2::bigint, $3::bytea))
           and not exists (
             select from spans e where e.session_id = s.session_id and e.trace_id = s.trace_id
               and (e.start_unix_nanos, e.span_id) < (s.start_unix_nanos, s.span_id))
           and not exists (
             select from trace_aliases a where a.session_id = s.session_id and a.trace_id = s.trace_id
               and exists (select from spans r
                           where r.session_id = a.session_id and r.trace_id = a.root_trace_id))
         order by s.start_unix_nanos desc, s.span_id desc limit $4::int)",
      session_id, after ? Parameter(after->start_unix_nanos) : Parameter(nullptr),
      after ? Parameter(Bytes{after->id}) : Parameter(nullptr), limit));
  std::vector<TraceRow> traces;
  for (const Row row : rows) {
    TraceRow trace;
    trace.trace_id = row.bytes("trace_id");
    trace.first_span_id = row.bytes("span_id");
    trace.start_unix_nanos = row.integer("start_unix_nanos");
    traces.push_back(std::move(trace));
  }
  return traces;
}

} // namespace

Result<std::vector<TraceRow>> find_traces(
    Transaction& tx, std::string_view session_id, const std::optional<PageKey>& after, int limit) {
  std::vector<TraceRow> traces = TRY(find_first_spans(tx, session_id, after, limit));
  std::vector<Parameter> ids;
  for (const TraceRow& trace : traces) ids.emplace_back(Bytes{trace.trace_id});
  // The root is the span without a parent; when it is missing, the oldest stands for it.
  const Rows rows = TRY(tx.exec(
      R"(select m.root, min(s.start_unix_nanos) as first_start,
                max(s.start_unix_nanos + s.duration_nanos) as last_end, count(*) as spans,
                count(*) filter (where s.status = 'ERROR') as errors,
                array_agg(distinct s.service) as services,
                (array_agg(s.name order by length(s.parent_span_id), s.start_unix_nanos, s.span_id))[1] as root_name,
                (array_agg(s.service order by length(s.parent_span_id), s.start_unix_nanos, s.span_id))[1] as root_service
         from (select id as root, id as trace_id from unnest($2::bytea[]) as id
               union all
               select root_trace_id, trace_id from trace_aliases
               where session_id = $1::uuid and root_trace_id = any($2::bytea[])) m
         join spans s on s.session_id = $1::uuid and s.trace_id = m.trace_id
         group by m.root)",
      session_id, ids));
  for (const Row row : rows) {
    const std::string root = row.bytes("root");
    const auto trace = std::find_if(
        traces.begin(), traces.end(), [&](const TraceRow& t) { return t.trace_id == root; });
    if (trace == traces.end()) continue;
    trace->first_start_unix_nanos = row.integer("first_start");
    trace->end_unix_nanos = row.integer("last_end");
    trace->spans = row.integer("spans");
    trace->errors = row.integer("errors");
    trace->services = row.texts("services");
    trace->root_name = row.text("root_name");
    trace->root_service = row.text("root_service");
  }
  return traces;
}

Result<StoredTrace>
find_trace(Transaction& tx, std::string_view session_id, std::string_view trace_id, int limit) {
  const Rows rows = TRY(tx.exec(
      R"(with root as (
           select coalesce((select root_trace_id from trace_aliases
                            where session_id = $1::uuid and trace_id = $2::bytea), $2::bytea) as id),
         members as (
           select id as trace_id from root
           union all
           select trace_id from trace_aliases
           where session_id = $1::uuid and root_trace_id = (select id from root)),
         kept as (
           select s.day, s.resource_sha256, s.span, s.start_unix_nanos, s.span_id, count(*) over () as spans
           from spans s
           where s.session_id = $1::uuid and s.trace_id in (select trace_id from members)
           order by s.start_unix_nanos, s.span_id limit $3::int)
         select r.resource, k.span, k.spans from kept k
         left join resources r on r.day = k.day and r.sha256 = k.resource_sha256
         order by k.resource_sha256, k.start_unix_nanos, k.span_id)",
      session_id, Bytes{trace_id}, limit));
  StoredTrace trace;
  for (const Row row : rows) trace.spans.push_back({row.bytes("resource"), row.bytes("span")});
  if (!rows.empty())
    trace.left_out = rows.front().integer("spans") - static_cast<int64_t>(rows.size());
  return trace;
}

Result<ArrivalCursor> arrivals_now(Transaction& tx) {
  return ArrivalCursor{.read = TRY(current_snapshot(tx))};
}

std::string format_arrival_cursor(const ArrivalCursor& cursor) {
  if (cursor.reading.empty()) return cursor.read;
  return cursor.read + '~' + cursor.reading + '~' + std::to_string(cursor.xid) + '.' +
         std::to_string(cursor.position);
}

Result<ArrivalCursor> parse_arrival_cursor(std::string_view text) {
  const base::Error invalid =
      base::invalid_argument("INVALID_EVENT_ID", "not the id of an event of this session")
          .at("afterEventId");
  ArrivalCursor cursor;
  const size_t first = text.find('~');
  cursor.read = text.substr(0, first);
  if (!is_snapshot(cursor.read)) return invalid;
  if (first == std::string_view::npos) return cursor;
  const std::string_view rest = text.substr(first + 1);
  const size_t second = rest.find('~');
  if (second == std::string_view::npos) return invalid;
  cursor.reading = rest.substr(0, second);
  const std::string_view place = rest.substr(second + 1);
  const size_t dot = place.find('.');
  if (!is_snapshot(cursor.reading) || dot == std::string_view::npos ||
      !parse_number(place.substr(0, dot), cursor.xid) ||
      !parse_number(place.substr(dot + 1), cursor.position))
    return invalid;
  return cursor;
}

Result<Arrivals>
find_arrivals(Transaction& tx, std::string_view session_id, ArrivalCursor& cursor, int limit) {
  Arrivals arrivals;
  const bool newest = cursor.reading.empty();
  if (newest) cursor.reading = TRY(current_snapshot(tx));
  arrivals.read = cursor.read;
  arrivals.reading = cursor.reading;
  const Rows rows = TRY(tx.exec(
      "select " + std::string(kSpanColumns) + " from spans s where " + std::string(kArrivalsWhere) +
          " order by s.xid, s.position limit $6::int",
      session_id, cursor.read, cursor.reading, std::to_string(cursor.xid), cursor.position, limit));
  for (const Row row : rows) arrivals.spans.push_back(span_row(row));
  if (rows.size() == limit) {
    cursor.xid = arrivals.spans.back().xid;
    cursor.position = arrivals.spans.back().position;
  } else {
    cursor = ArrivalCursor{.read = cursor.reading};
    arrivals.end = newest;
  }
  return arrivals;
}

Result<uint64_t>
skip_arrivals(Transaction& tx, std::string_view session_id, ArrivalCursor& cursor) {
  uint64_t skipped = 0;
  while (true) {
    const bool newest = cursor.reading.empty();
    if (newest) cursor.reading = TRY(current_snapshot(tx));
    const Rows rows = TRY(tx.exec(
        "select count(*) as count from spans s where " + std::string(kArrivalsWhere), session_id,
        cursor.read, cursor.reading, std::to_string(cursor.xid), cursor.position));
    skipped += rows.front().integer("count");
    cursor = ArrivalCursor{.read = cursor.reading};
    if (newest) return skipped;
  }
}

} // namespace controlplane::store
