#include "controlplane/stitch/results.h"

#include "base/hex.h"
#include "controlplane/model/filter.h"
#include "controlplane/model/page_token.h"
#include "controlplane/model/validation.h"
#include "controlplane/stitch/limits.h"
#include "controlplane/stitch/rows.h"
#include "controlplane/store/pool.h"
#include "controlplane/store/sessions.h"
#include "controlplane/store/spans.h"

#include <algorithm>
#include <charconv>

namespace controlplane::stitch {
namespace {

using base::Result;
using store::PageKey;
using store::Transaction;

// A page ends at (start, id) of its last row.
Result<std::optional<PageKey>> decode_key(const std::string& token, std::string_view query) {
  const auto parts = TRY(model::decode_page_token(token, query, 2));
  if (parts.empty()) return std::optional<PageKey>();
  PageKey key;
  const std::string& start = parts[0];
  auto id = base::from_hex(parts[1]);
  const auto [end, error] =
      std::from_chars(start.data(), start.data() + start.size(), key.start_unix_nanos);
  if (error != std::errc() || end != start.data() + start.size() || !id)
    return model::invalid_page_token();
  key.id = *std::move(id);
  return std::optional(std::move(key));
}
std::string encode_key(int64_t start, std::string_view id, std::string_view query) {
  return model::encode_page_token({std::to_string(start), base::to_hex(id)}, query);
}

// SESSION_NOT_FOUND, also for an id that is none.
Result<> check_session(Transaction& tx, const std::string& session_id) {
  const auto found = TRY(store::find_sessions(tx, {session_id}));
  if (found.empty())
    return base::not_found("SESSION_NOT_FOUND", "there is no session " + session_id);
  return {};
}

Result<std::string> decode_trace_id(const std::string& text) {
  auto id = base::from_hex(text);
  if (!id || id->size() != 16)
    return base::invalid_argument("INVALID_TRACE_ID", "a trace id has 32 hexadecimal digits")
        .at("traceId");
  return *std::move(id);
}

} // namespace

Result<sonde::v1::ListSpansResponse>
Results::list_spans(const sonde::v1::ListSpansRequest& request) {
  const int limit = TRY(model::page_size(request.page_size()));
  const auto conditions = TRY(model::parse_filter(request.filter(), store::span_filter_fields()));
  const std::string query = "spans " + request.session_id() + ' ' + request.filter();
  const auto after = TRY(decode_key(request.page_token(), query));
  return pool_.transaction([&](Transaction& tx) -> Result<sonde::v1::ListSpansResponse> {
    TRY(check_session(tx, request.session_id()));
    const auto rows =
        TRY(store::find_spans(tx, request.session_id(), conditions, after, limit + 1));
    sonde::v1::ListSpansResponse response;
    for (const store::SpanRow& row : rows) {
      if (response.spans_size() == limit) {
        const store::SpanRow& last = rows[limit - 1];
        response.set_next_page_token(encode_key(last.start_unix_nanos, last.span_id, query));
        break;
      }
      *response.add_spans() = to_span(row);
    }
    return response;
  });
}

Result<sonde::v1::ListTracesResponse>
Results::list_traces(const sonde::v1::ListTracesRequest& request) {
  const int limit = TRY(model::page_size(request.page_size()));
  const std::string query = "traces " + request.session_id();
  const auto after = TRY(decode_key(request.page_token(), query));
  return pool_.transaction([&](Transaction& tx) -> Result<sonde::v1::ListTracesResponse> {
    TRY(check_session(tx, request.session_id()));
    const auto rows = TRY(store::find_traces(tx, request.session_id(), after, limit + 1));
    sonde::v1::ListTracesResponse response;
    for (const store::TraceRow& row : rows) {
      if (response.traces_size() == limit) {
        const store::TraceRow& last = rows[limit - 1];
        response.set_next_page_token(encode_key(last.start_unix_nanos, last.first_span_id, query));
        break;
      }
      *response.add_traces() = to_summary(row);
    }
    return response;
  });
}

Result<sonde::v1::Trace> Results::get_trace(const sonde::v1::GetTraceRequest& request) {
  const std::string trace_id = TRY(decode_trace_id(request.trace_id()));
  return pool_.transaction([&](Transaction& tx) -> Result<sonde::v1::Trace> {
    TRY(check_session(tx, request.session_id()));
    const auto stored = TRY(store::find_trace(tx, request.session_id(), trace_id, kTraceSpansMax));
    if (stored.spans.empty())
      return base::not_found(
          "TRACE_NOT_FOUND", "the session has no span of trace " + request.trace_id());
    auto trace = to_trace(stored.spans);
    trace.set_spans_left_out(static_cast<int32_t>(std::min<int64_t>(stored.left_out, INT32_MAX)));
    return trace;
  });
}

} // namespace controlplane::stitch
