#include "controlplane/ingest/upload.h"

#include "base/hex.h"
#include "controlplane/ingest/limits.h"
#include "controlplane/ingest/wire_reader.h"

#include "opentelemetry/proto/common/v1/common.pb.h"
#include "opentelemetry/proto/resource/v1/resource.pb.h"
#include "opentelemetry/proto/trace/v1/trace.pb.h"
#include "sonde/v1/status.pb.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cctype>

namespace controlplane::ingest {
namespace {

using google::protobuf::io::CodedOutputStream;

// Field numbers: UploadRequest, TracesData, ResourceSpans, ScopeSpans, Span, KeyValue, AnyValue,
// Status.
namespace upload_field {
constexpr uint32_t kBootId = 1, kBatch = 2, kSessionId = 3, kTraces = 4, kLosses = 5;
}
constexpr uint32_t kTracesResourceSpans = 1;
constexpr uint32_t kResource = 1, kScopeSpans = 2;
constexpr uint32_t kScope = 1, kScopeSpan = 2;
constexpr uint32_t kSchemaUrl = 3; // of ResourceSpans and ScopeSpans
namespace span_field {
constexpr uint32_t kTraceId = 1, kSpanId = 2, kTraceState = 3, kParentSpanId = 4, kName = 5,
                   kKind = 6, kStart = 7, kEnd = 8, kAttributes = 9, kEvents = 11, kLinks = 13,
                   kStatus = 15;
}
constexpr uint32_t kKeyValueKey = 1, kKeyValueValue = 2, kAnyString = 1, kAnyArray = 5, kAnyMap = 6;
constexpr uint32_t kStatusMessage = 2, kStatusCode = 3;
constexpr uint32_t kKindMax = 5, kStatusMax = 2;

base::Error malformed(std::string message) {
  return base::invalid_argument("MALFORMED_BATCH", std::move(message));
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

// UTF-8 without NUL: what PostgreSQL and every OTLP receiver take as text.
bool is_text(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    if (*at != 0 && *at < 0x80) {
      ++at;
      continue;
    }
    const int length = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : 2;
    if (*at < 0xC2 || *at > 0xF4 || end - at < length) return false;
    for (int i = 1; i < length; ++i)
      if ((at[i] & 0xC0) != 0x80) return false;
    if ((*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F) ||
        (*at == 0xF0 && at[1] < 0x90) || (*at == 0xF4 && at[1] > 0x8F))
      return false;
    at += length;
  }
  return true;
}

bool is_zero(std::string_view id) {
  return std::all_of(id.begin(), id.end(), [](char c) { return c == 0; });
}

// What agents of ours never send is read by protobuf: a batch that it would not read must not get
// into a request with those of others.
template <class Message> bool parses(std::string_view bytes) {
  const google::protobuf::LogSilencer quiet; // it is counted; a line each would be theirs to write
  return Message().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// `nested` becomes true when a value holds others.
bool valid_attribute(std::string_view bytes, bool& nested) {
  WireReader pair(bytes);
  while (pair.next()) {
    if (pair.is(kKeyValueKey, WireType::kBytes) && !is_text(pair.bytes())) return false;
    if (!pair.is(kKeyValueValue, WireType::kBytes)) continue;
    WireReader value(pair.bytes());
    while (value.next()) {
      if (value.is(kAnyString, WireType::kBytes) && !is_text(value.bytes())) return false;
      nested |= value.is(kAnyArray, WireType::kBytes) || value.is(kAnyMap, WireType::kBytes);
    }
    if (!value.ok()) return false;
  }
  return pair.ok();
}

bool read_status(std::string_view bytes, SpanView& span) {
  WireReader status(bytes);
  while (status.next()) {
    if (status.is(kStatusMessage, WireType::kBytes) && !is_text(status.bytes())) return false;
    if (status.is(kStatusCode, WireType::kVarint))
      span.status = static_cast<uint32_t>(status.number());
  }
  return status.ok();
}

bool read_span(std::string_view bytes, SpanView& span) {
  using namespace span_field;
  span.bytes = bytes;
  size_t attributes = 0;
  bool nested = false;
  WireReader reader(bytes);
  while (reader.next()) {
    if (reader.is(kTraceId, WireType::kBytes)) span.trace_id = reader.bytes();
    if (reader.is(kSpanId, WireType::kBytes)) span.span_id = reader.bytes();
    if (reader.is(kParentSpanId, WireType::kBytes)) span.parent_span_id = reader.bytes();
    if (reader.is(kName, WireType::kBytes)) span.name = reader.bytes();
    if (reader.is(kKind, WireType::kVarint)) span.kind = static_cast<uint32_t>(reader.number());
    if (reader.is(kStart, WireType::kFixed64)) span.start_unix_nanos = reader.number();
    if (reader.is(kEnd, WireType::kFixed64)) span.end_unix_nanos = reader.number();
    // Every occurrence: the last one counts, and those before it are passed on too.
    const bool text =
        reader.is(kName, WireType::kBytes) || reader.is(kTraceState, WireType::kBytes);
    if (text && !is_text(reader.bytes())) return false;
    if (reader.is(kStatus, WireType::kBytes) && !read_status(reader.bytes(), span)) return false;
    if (reader.is(kAttributes, WireType::kBytes) &&
        (++attributes > kAttributesMax || !valid_attribute(reader.bytes(), nested)))
      return false;
    nested |= reader.is(kEvents, WireType::kBytes) || reader.is(kLinks, WireType::kBytes);
  }
  return reader.ok() && (!nested || parses<opentelemetry::proto::trace::v1::Span>(bytes));
}

bool valid_span(const SpanView& span) {
  return span.bytes.size() <= kSpanBytesMax && span.trace_id.size() == 16 &&
         !is_zero(span.trace_id) && span.span_id.size() == 8 && !is_zero(span.span_id) &&
         (span.parent_span_id.empty() || span.parent_span_id.size() == 8) &&
         span.name.size() <= kNameBytesMax && span.kind <= kKindMax && span.status <= kStatusMax &&
         span.start_unix_nanos <= INT64_MAX && span.end_unix_nanos <= INT64_MAX;
}

base::Result<> read_scope(std::string_view bytes, ResourceView& view, Upload& upload) {
  WireReader reader(bytes);
  while (reader.next()) {
    if (reader.is(kScope, WireType::kBytes) &&
        !parses<opentelemetry::proto::common::v1::InstrumentationScope>(reader.bytes()))
      return malformed("InstrumentationScope does not parse");
    if (reader.is(kSchemaUrl, WireType::kBytes) && !is_text(reader.bytes()))
      return malformed("schema_url is no text");
    if (!reader.is(kScopeSpan, WireType::kBytes)) continue;
    if (upload.spans + upload.invalid_spans == kSpansPerBatchMax)
      return malformed("more spans than a batch can have");
    SpanView span;
    if (read_span(reader.bytes(), span) && valid_span(span)) {
      view.spans.push_back(span);
      ++upload.spans;
    } else {
      ++upload.invalid_spans;
    }
  }
  if (!reader.ok()) return malformed("ScopeSpans does not parse");
  return {};
}

base::Result<> read_traces(std::string_view bytes, Upload& upload) {
  WireReader traces(bytes);
  while (traces.next()) {
    if (!traces.is(kTracesResourceSpans, WireType::kBytes)) continue;
    if (upload.resources.size() == kResourcesPerBatchMax)
      return malformed("more resources than a batch can have");
    ResourceView view;
    view.rest = traces.bytes();
    WireReader reader(traces.bytes());
    while (reader.next()) {
      if (reader.is(kResource, WireType::kBytes)) view.resource = reader.bytes();
      if (reader.is(kSchemaUrl, WireType::kBytes) && !is_text(reader.bytes()))
        return malformed("schema_url is no text");
      if (reader.is(kScopeSpans, WireType::kBytes)) TRY(read_scope(reader.bytes(), view, upload));
    }
    if (!reader.ok()) return malformed("ResourceSpans does not parse");
    if (view.resource.size() > kResourceBytesMax) return malformed("a resource is too large");
    if (!view.spans.empty()) upload.resources.push_back(std::move(view));
  }
  if (!traces.ok()) return malformed("TracesData does not parse");
  return {};
}

// Reasons are words of ours; an agent cannot make the table of them grow.
void read_loss(std::string_view bytes, Upload& upload) {
  sonde::v1::Loss loss;
  const google::protobuf::LogSilencer quiet;
  if (!loss.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || loss.count() == 0)
    return;
  const bool word =
      !loss.reason().empty() && loss.reason().size() <= kLossReasonBytesMax &&
      loss.reason().find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
  const bool room =
      upload.losses.size() < kLossesPerBatchMax || upload.losses.contains(loss.reason());
  uint64_t& count = upload.losses[word && room ? loss.reason() : "OTHER"];
  count += std::min<uint64_t>(loss.count(), INT32_MAX);
}

void append_field(uint32_t field, std::string_view bytes, std::string& out) {
  uint8_t header[16];
  uint8_t* at = CodedOutputStream::WriteVarint32ToArray(field << 3 | 2, header);
  at = CodedOutputStream::WriteVarint64ToArray(bytes.size(), at);
  out.append(reinterpret_cast<char*>(header), at - header);
  out.append(bytes);
}

} // namespace

base::Result<Upload> decode_upload(std::string_view message) {
  if (message.size() > kBatchBytesMax) return malformed("the batch is too large");
  Upload upload;
  WireReader reader(message);
  while (reader.next()) {
    using namespace upload_field;
    if (reader.is(kBootId, WireType::kBytes)) upload.boot_id = reader.bytes();
    if (reader.is(kBatch, WireType::kVarint)) upload.batch = reader.number();
    if (reader.is(kSessionId, WireType::kBytes)) upload.session_id = reader.bytes();
    if (reader.is(kTraces, WireType::kBytes)) TRY(read_traces(reader.bytes(), upload));
    if (reader.is(kLosses, WireType::kBytes)) read_loss(reader.bytes(), upload);
  }
  if (!reader.ok()) return malformed("UploadRequest does not parse");
  if (upload.boot_id.empty() || upload.boot_id.size() > kBootIdBytesMax || !is_text(upload.boot_id))
    return malformed("boot_id is missing or too long");
  if (upload.batch == 0 || upload.batch > INT64_MAX) return malformed("batch numbers begin at 1");
  if (!is_uuid(upload.session_id)) return malformed("session_id is no UUID");
  if (upload.invalid_spans != 0) upload.losses["INVALID_SPAN"] += upload.invalid_spans;
  return upload;
}

base::Result<StampedResource>
stamp(std::string_view resource, std::string_view agent_id, std::string_view hostname) {
  opentelemetry::proto::resource::v1::Resource message;
  const google::protobuf::LogSilencer quiet;
  if (!message.ParseFromArray(resource.data(), static_cast<int>(resource.size())))
    return malformed("Resource does not parse");
  StampedResource stamped;
  auto& attributes = *message.mutable_attributes();
  for (int i = attributes.size() - 1; i >= 0; --i) {
    const auto& attribute = attributes[i];
    if (attribute.key() == "service.name") stamped.service = attribute.value().string_value();
    if (attribute.key() == "process.pid") stamped.pid = attribute.value().int_value();
    if (attribute.key() == "sonde.agent.id" ||
        (attribute.key() == "host.name" && !hostname.empty()))
      attributes.DeleteSubrange(i, 1);
  }
  if (!is_text(stamped.service)) return malformed("service.name is no text");
  const auto add = [&](const char* key, std::string_view value) {
    auto& attribute = *message.add_attributes();
    attribute.set_key(key);
    attribute.mutable_value()->set_string_value(std::string(value));
  };
  if (!hostname.empty()) add("host.name", hostname);
  add("sonde.agent.id", agent_id);
  stamped.bytes = message.SerializeAsString();
  stamped.sha256 = base::sha256(stamped.bytes);
  return stamped;
}

void append_traces(
    const ResourceView& view, std::string_view stamped_resource, std::string& traces) {
  // Everything but the resource and the spans that were left out is passed on: scope, schema,
  // unknown fields.
  std::string body;
  body.reserve(view.rest.size() + stamped_resource.size());
  append_field(kResource, stamped_resource, body);
  size_t next = 0; // of view.spans: they are in the order of the message
  std::string scope;
  for (WireReader reader(view.rest); reader.next();) {
    if (reader.is(kResource, WireType::kBytes) || !reader.is(reader.field(), WireType::kBytes))
      continue;
    if (!reader.is(kScopeSpans, WireType::kBytes)) {
      append_field(reader.field(), reader.bytes(), body);
      continue;
    }
    scope.clear();
    for (WireReader inner(reader.bytes()); inner.next();) {
      if (!inner.is(inner.field(), WireType::kBytes)) continue;
      if (inner.field() == kScopeSpan) {
        if (next == view.spans.size() || view.spans[next].bytes.data() != inner.bytes().data())
          continue;
        ++next;
      }
      append_field(inner.field(), inner.bytes(), scope);
    }
    append_field(kScopeSpans, scope, body);
  }
  append_field(kTracesResourceSpans, body, traces);
}

} // namespace controlplane::ingest
