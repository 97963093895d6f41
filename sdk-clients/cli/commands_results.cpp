// Spans, as they arrive and as trees.
#include "sdk-clients/cli/commands.h"
#include "sdk-clients/cli/ids.h"
#include "sdk-clients/cli/trace_tree.h"

#include <fmt/format.h>

namespace cli {

namespace v1 = sonde::v1;

Outcome tail(Context& context, const TailArguments& arguments) {
  const auto session_id = TRY(whole_session_id(context, arguments.session_id));
  context.watches(session_id);
  uint64_t spans = 0;
  auto last_state = v1::Session::STATE_UNSPECIFIED;
  const auto show = [&](const v1::TailSessionResponse& event) {
    context.print(
        context.format == Format::kTable  ? render_tail_event(event, context.style)
        : context.format == Format::kJson ? format_json_line(event)
                                          : "---\n" + format_message(event, Format::kYaml));
    if (event.has_session()) last_state = event.session().state();
    if (event.has_span()) ++spans;
    return arguments.spans_max == 0 || spans < arguments.spans_max;
  };
  TRY(context.client.tail_session(session_id, show));
  return last_state == v1::Session::FAILED ? kNotTraced : kSuccess;
}

Outcome list_traces(Context& context, const std::string& typed) {
  const auto session_id = TRY(whole_session_id(context, typed));
  v1::ListTracesRequest request;
  request.set_session_id(session_id);
  const auto traces = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_traces, request, &v1::ListTracesResponse::traces));
  if (context.format == Format::kTable) {
    context.print(render_traces(traces, now(), context.style));
    if (!traces.empty())
      context.hint(fmt::format(
          "\n  sonde trace {} {}    one trace as a tree\n", session_id, traces.front().trace_id()));
    return kSuccess;
  }
  v1::ListTracesResponse all;
  all.mutable_traces()->Assign(traces.begin(), traces.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome show_trace(Context& context, const std::string& typed, std::string trace_id) {
  const auto session_id = TRY(whole_session_id(context, typed));
  if (trace_id.empty()) {
    v1::ListTracesRequest request;
    request.set_session_id(session_id);
    request.set_page_size(1);
    const auto newest = TRY(context.client.list_traces(request));
    if (newest.traces().empty())
      return base::not_found(
          "TRACE_NOT_FOUND",
          "the session has no traces (yet); sonde tail " + session_id + " shows them arrive");
    trace_id = newest.traces(0).trace_id();
  } else {
    trace_id = TRY(whole_trace_id(context, session_id, trace_id));
  }
  const auto trace = TRY(context.client.get_trace(session_id, trace_id));
  context.print(
      context.format == Format::kTable ? render_trace(trace, context.style)
                                       : format_message(trace, context.format));
  return kSuccess;
}

Outcome list_spans(Context& context, const std::string& typed, const std::string& filter) {
  const auto session_id = TRY(whole_session_id(context, typed));
  v1::ListSpansRequest request;
  request.set_session_id(session_id);
  request.set_filter(filter);
  const auto spans = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_spans, request, &v1::ListSpansResponse::spans));
  if (context.format == Format::kTable) {
    v1::TailSessionResponse line;
    for (const auto& span : spans) {
      *line.mutable_span() = span;
      context.print(render_tail_event(line, context.style));
    }
    return kSuccess;
  }
  v1::ListSpansResponse all;
  all.mutable_spans()->Assign(spans.begin(), spans.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

} // namespace cli
