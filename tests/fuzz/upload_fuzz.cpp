// What an agent uploads, as bytes: whatever decode_upload accepts must be what protobuf sees in it,
// and what is passed on must parse again with the same spans, under the agent's own name.
#include "base/check.h"
#include "controlplane/ingest/limits.h"
#include "controlplane/ingest/upload.h"

#include "opentelemetry/proto/trace/v1/trace.pb.h"

#include <cstdint>
#include <string_view>

namespace {

using namespace controlplane::ingest; // NOLINT(google-build-using-namespace): what is fuzzed
using opentelemetry::proto::trace::v1::TracesData;

constexpr char kAgent[] = "0b7c7a0a-4b5a-4a55-9a6e-2f8f0b1c2d03";

// Views point into the message: the sanitizer finds those that do not.
void check_views(const Upload& upload) {
  size_t spans = 0;
  for (const ResourceView& view : upload.resources) {
    CHECK(!view.spans.empty());
    CHECK(view.resource.size() <= kResourceBytesMax);
    for (const SpanView& span : view.spans) {
      CHECK(span.trace_id.size() == 16 && span.span_id.size() == 8);
      CHECK(span.parent_span_id.empty() || span.parent_span_id.size() == 8);
      CHECK(span.bytes.size() <= kSpanBytesMax && span.name.size() <= kNameBytesMax);
      CHECK(span.kind <= 5 && span.status <= 2);
    }
    spans += view.spans.size();
  }
  CHECK(spans == upload.spans);
  CHECK(upload.spans + upload.invalid_spans <= kSpansPerBatchMax);
  CHECK(upload.losses.size() <= kLossesPerBatchMax + 2);
  CHECK(upload.boot_id.size() <= kBootIdBytesMax && upload.session_id.size() == 36);
}

void check_stamp(const opentelemetry::proto::resource::v1::Resource& resource) {
  int agents = 0, hosts = 0;
  for (const auto& attribute : resource.attributes()) {
    if (attribute.key() == "sonde.agent.id") {
      CHECK(attribute.value().string_value() == kAgent);
      ++agents;
    }
    if (attribute.key() == "host.name") {
      CHECK(attribute.value().string_value() == "web-1");
      ++hosts;
    }
  }
  CHECK(agents == 1 && hosts == 1);
}

// The fan-in: every resource of the batch behind the other, as exporters and tails get them.
void check_fan_in(const Upload& upload) {
  std::string traces;
  size_t spans = 0;
  for (const ResourceView& view : upload.resources) {
    auto stamped = stamp(view.resource, kAgent, "web-1");
    if (!stamped) return; // the whole batch is refused
    append_traces(view, stamped->bytes, traces);
    spans += view.spans.size();
  }
  TracesData data;
  CHECK(data.ParseFromString(traces));
  CHECK(data.resource_spans_size() == static_cast<int>(upload.resources.size()));
  for (const auto& resource : data.resource_spans()) {
    check_stamp(resource.resource());
    for (const auto& scope : resource.scope_spans())
      spans -= static_cast<size_t>(scope.spans_size());
  }
  CHECK(spans == 0);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view message(reinterpret_cast<const char*>(data), size);
  auto upload = decode_upload(message);
  if (!upload) {
    CHECK(upload.error().reason == "MALFORMED_BATCH");
    return 0;
  }
  check_views(*upload);
  check_fan_in(*upload);
  return 0;
}
