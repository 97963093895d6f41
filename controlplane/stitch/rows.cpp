#include "controlplane/stitch/rows.h"

#include "base/hex.h"

#include <google/protobuf/struct.pb.h>

#include <algorithm>

namespace controlplane::stitch {
namespace {

using opentelemetry::proto::common::v1::AnyValue;
using opentelemetry::proto::trace::v1::ScopeSpans;
using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::Status;
using opentelemetry::proto::trace::v1::TracesData;

// Values nest; what is deeper than this is left out.
constexpr int kDepthMax = 8;

void to_value(const AnyValue& from, google::protobuf::Value& to, int depth) {
  switch (from.value_case()) {
  case AnyValue::kStringValue:
    to.set_string_value(from.string_value());
    return;
  case AnyValue::kBoolValue:
    to.set_bool_value(from.bool_value());
    return;
  // A Struct knows doubles only: exact up to 2^53.
  case AnyValue::kIntValue:
    to.set_number_value(static_cast<double>(from.int_value()));
    return;
  case AnyValue::kDoubleValue:
    to.set_number_value(from.double_value());
    return;
  case AnyValue::kBytesValue:
    to.set_string_value(base::to_hex(from.bytes_value()));
    return;
  case AnyValue::kArrayValue:
    to.mutable_list_value();
    if (depth == kDepthMax) return;
    for (const AnyValue& element : from.array_value().values())
      to_value(element, *to.mutable_list_value()->add_values(), depth + 1);
    return;
  case AnyValue::kKvlistValue:
    to.mutable_struct_value();
    if (depth == kDepthMax) return;
    for (const auto& pair : from.kvlist_value().values())
      to_value(pair.value(), (*to.mutable_struct_value()->mutable_fields())[pair.key()], depth + 1);
    return;
  default:
    to.set_null_value(google::protobuf::NULL_VALUE);
  }
}

void set_duration(int64_t nanos, google::protobuf::Duration& duration) {
  duration.set_seconds(nanos / 1'000'000'000);
  duration.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
}
void set_time(int64_t unix_nanos, google::protobuf::Timestamp& time) {
  time.set_seconds(unix_nanos / 1'000'000'000);
  time.set_nanos(static_cast<int32_t>(unix_nanos % 1'000'000'000));
}

void set_details(const Span& otlp, sonde::v1::Span& span) {
  span.set_status_message(otlp.status().message());
  for (const auto& attribute : otlp.attributes())
    to_value(attribute.value(), (*span.mutable_attributes()->mutable_fields())[attribute.key()], 0);
}

const char* kind_name(Span::SpanKind kind) {
  switch (kind) {
  case Span::SPAN_KIND_SERVER:
    return "SERVER";
  case Span::SPAN_KIND_CLIENT:
    return "CLIENT";
  case Span::SPAN_KIND_PRODUCER:
    return "PRODUCER";
  case Span::SPAN_KIND_CONSUMER:
    return "CONSUMER";
  default:
    return "INTERNAL";
  }
}

const char* status_name(Status::StatusCode code) {
  if (code == Status::STATUS_CODE_ERROR) return "ERROR";
  return code == Status::STATUS_CODE_OK ? "OK" : "UNSET";
}

} // namespace

sonde::v1::Span to_span(const store::SpanRow& row) {
  sonde::v1::Span span;
  span.set_trace_id(base::to_hex(row.trace_id));
  span.set_root_trace_id(base::to_hex(row.root_trace_id));
  span.set_span_id(base::to_hex(row.span_id));
  span.set_parent_span_id(base::to_hex(row.parent_span_id));
  span.set_name(row.name);
  span.set_kind(row.kind);
  set_time(row.start_unix_nanos, *span.mutable_start_time());
  set_duration(row.duration_nanos, *span.mutable_duration());
  span.set_status(row.status);
  span.set_service(row.service);
  span.set_agent_id(row.agent_id);
  span.set_hostname(row.hostname);
  span.set_pid(static_cast<uint32_t>(row.pid));
  if (Span otlp; otlp.ParseFromString(row.span)) set_details(otlp, span);
  return span;
}

sonde::v1::TraceSummary to_summary(const store::TraceRow& row) {
  sonde::v1::TraceSummary summary;
  summary.set_trace_id(base::to_hex(row.trace_id));
  summary.set_root_name(row.root_name);
  summary.set_root_service(row.root_service);
  set_time(row.first_start_unix_nanos, *summary.mutable_start_time());
  set_duration(row.end_unix_nanos - row.first_start_unix_nanos, *summary.mutable_duration());
  summary.set_spans(static_cast<int32_t>(std::min<int64_t>(row.spans, INT32_MAX)));
  summary.set_errors(static_cast<int32_t>(std::min<int64_t>(row.errors, INT32_MAX)));
  for (const std::string& service : row.services) summary.add_services(service);
  return summary;
}

sonde::v1::Trace to_trace(const std::vector<store::TraceSpan>& spans) {
  sonde::v1::Trace trace;
  const std::string* resource = nullptr;
  ScopeSpans* scope = nullptr;
  for (const store::TraceSpan& span : spans) {
    Span otlp;
    if (!otlp.ParseFromString(span.span)) continue;
    if (!resource || *resource != span.resource) {
      resource = &span.resource;
      auto& group = *trace.add_resource_spans();
      if (!group.mutable_resource()->ParseFromString(*resource)) group.clear_resource();
      group.set_schema_url("https://opentelemetry.io/schemas/1.44.0");
      scope = group.add_scope_spans();
      scope->mutable_scope()->set_name("sonde");
      scope->set_schema_url(group.schema_url());
    }
    *scope->add_spans() = std::move(otlp);
  }
  return trace;
}

std::vector<sonde::v1::Span>
to_spans(std::string_view bytes, std::string_view agent_id, std::string_view hostname) {
  std::vector<sonde::v1::Span> spans;
  TracesData traces;
  if (!traces.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return spans;
  for (const auto& group : traces.resource_spans()) {
    sonde::v1::Span pattern;
    pattern.set_agent_id(std::string(agent_id));
    pattern.set_hostname(std::string(hostname));
    for (const auto& attribute : group.resource().attributes()) {
      if (attribute.key() == "service.name") pattern.set_service(attribute.value().string_value());
      if (attribute.key() == "process.pid")
        pattern.set_pid(static_cast<uint32_t>(attribute.value().int_value()));
    }
    for (const auto& scope : group.scope_spans())
      for (const Span& otlp : scope.spans()) {
        sonde::v1::Span span = pattern;
        span.set_trace_id(base::to_hex(otlp.trace_id()));
        span.set_root_trace_id(span.trace_id());
        span.set_span_id(base::to_hex(otlp.span_id()));
        span.set_parent_span_id(base::to_hex(otlp.parent_span_id()));
        span.set_name(otlp.name());
        span.set_kind(kind_name(otlp.kind()));
        span.set_status(status_name(otlp.status().code()));
        const auto start = static_cast<int64_t>(otlp.start_time_unix_nano());
        const auto end = static_cast<int64_t>(otlp.end_time_unix_nano());
        set_time(start, *span.mutable_start_time());
        set_duration(std::max<int64_t>(end - start, 0), *span.mutable_duration());
        set_details(otlp, span);
        spans.push_back(std::move(span));
      }
  }
  return spans;
}

} // namespace controlplane::stitch
