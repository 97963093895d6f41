// Spans that sessions keep: written by COPY into the partition of the day, read as rows, traces and
// arrivals. All functions run in the caller's transaction.
#pragma once

#include "controlplane/model/filter.h"
#include "controlplane/store/transaction.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// A span on its way in. Ids are raw bytes; views are valid as long as the batch that they point
// into.
struct NewSpan {
  std::string_view session_id;
  std::string_view trace_id;       // 16 bytes
  std::string_view span_id;        // 8 bytes
  std::string_view parent_span_id; // 8 bytes, or none
  std::string_view name;
  std::string_view kind;   // SERVER, …
  std::string_view status; // UNSET, OK, ERROR
  std::string_view service;
  std::string_view agent_id;
  std::string_view hostname;
  int64_t pid = 0;
  int64_t start_unix_nanos = 0;
  int64_t duration_nanos = 0;
  std::string_view resource_sha256; // 32 bytes
  std::string_view span;            // serialized OTLP Span
};
struct NewResource {
  std::string sha256;
  std::string resource; // serialized OTLP Resource
};

Result<void> insert_resources(Transaction& tx, std::span<const NewResource> resources);
Result<void> copy_spans(Transaction& tx, std::span<const NewSpan> spans);

// A span as it is stored. Ids are raw bytes.
struct SpanRow {
  std::string trace_id;
  std::string root_trace_id;
  std::string span_id;
  std::string parent_span_id;
  std::string name;
  std::string kind;
  std::string status;
  std::string service;
  std::string agent_id;
  std::string hostname;
  int64_t pid = 0;
  int64_t start_unix_nanos = 0;
  int64_t duration_nanos = 0;
  std::string span; // serialized OTLP Span
  uint64_t xid = 0; // (xid, position): order of arrival
  int64_t position = 0;
};

// The fields that list_spans() can filter by, for model::parse_filter.
std::span<const model::FilterField> span_filter_fields();

// Where a page of spans or traces begins: strictly after (older than) this.
struct PageKey {
  int64_t start_unix_nanos = 0;
  std::string id; // raw bytes
};
// Newest first, at most `limit`.
Result<std::vector<SpanRow>> find_spans(
    Transaction& tx, std::string_view session_id,
    const std::vector<model::FilterCondition>& conditions, const std::optional<PageKey>& after,
    int limit);

struct TraceRow {
  std::string trace_id;
  std::string root_name;
  std::string root_service;
  int64_t start_unix_nanos = 0; // of the first span under its own trace id: what pages go by
  std::string first_span_id;
  int64_t first_start_unix_nanos = 0; // of all, joined traces included
  int64_t end_unix_nanos = 0;
  int64_t spans = 0;
  int64_t errors = 0;
  std::vector<std::string> services; // in alphabetical order
};
// Newest first. A trace that is joined to another one with spans in the session is counted there.
Result<std::vector<TraceRow>> find_traces(
    Transaction& tx, std::string_view session_id, const std::optional<PageKey>& after, int limit);

struct TraceSpan {
  std::string resource; // serialized OTLP Resource; empty when its row is gone
  std::string span;     // serialized OTLP Span
};
struct StoredTrace {
  std::vector<TraceSpan> spans;
  int64_t left_out = 0; // spans beyond the limit
};
// The spans of the trace that this one belongs to, grouped by resource, oldest first; of more than
// `limit` the oldest.
Result<StoredTrace>
find_trace(Transaction& tx, std::string_view session_id, std::string_view trace_id, int limit);

// How far a reader of a session's arrivals got: all that is visible in `read`, and of what became
// visible between it and `reading` everything up to (xid, position). Texts of pg_snapshot.
struct ArrivalCursor {
  std::string read;
  std::string reading; // empty: at the end of `read`
  uint64_t xid = 0;
  int64_t position = -1;
};
// The end of what is there now.
Result<ArrivalCursor> arrivals_now(Transaction& tx);
// INVALID_EVENT_ID when it is none.
Result<ArrivalCursor> parse_arrival_cursor(std::string_view text);
std::string format_arrival_cursor(const ArrivalCursor& cursor);

// What arrived after a cursor, in order of arrival. A row that was committed late comes late, but
// comes.
struct Arrivals {
  std::vector<SpanRow> spans;
  // The window they are in: with the (xid, position) of a span it is the cursor behind that span.
  std::string read;
  std::string reading;
  bool end = false; // nothing more now
};
// At most `limit` spans; moves `cursor` behind them. Ask again until `end`.
Result<Arrivals>
find_arrivals(Transaction& tx, std::string_view session_id, ArrivalCursor& cursor, int limit);
// Of these, how many there are to come, and a cursor behind all of them: for readers that are too
// far behind.
Result<uint64_t> skip_arrivals(Transaction& tx, std::string_view session_id, ArrivalCursor& cursor);

} // namespace controlplane::store
