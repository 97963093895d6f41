// An UploadRequest as views into its bytes: what is checked and stored of a span is a few fields,
// so no message objects are built.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::ingest {

// The fields of an OTLP span that the store sorts and filters by. Views into the message.
struct SpanView {
  std::string_view bytes; // the whole serialized Span
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view parent_span_id;
  std::string_view name;
  uint32_t kind = 0;
  uint32_t status = 0;
  uint64_t start_unix_nanos = 0;
  uint64_t end_unix_nanos = 0;
};

// One ResourceSpans.
struct ResourceView {
  std::string_view resource;   // serialized Resource
  std::vector<SpanView> spans; // the valid ones
  std::string_view rest;       // the whole serialized ResourceSpans
};

struct Upload {
  std::string boot_id;
  uint64_t batch = 0;
  std::string session_id;
  std::vector<ResourceView> resources;
  std::map<std::string, uint64_t> losses;
  size_t spans = 0;
  size_t invalid_spans = 0; // left out of `resources`, and counted in losses as INVALID_SPAN
};

// Views stay valid as long as `message`. MALFORMED_BATCH when it is not an UploadRequest at all or
// exceeds a limit; single bad spans (ids of wrong length, too large, text that is no UTF-8, times
// that cannot be) are left out and counted.
base::Result<Upload> decode_upload(std::string_view message);

// A resource as the control plane vouches for it: host.name and sonde.agent.id are those of the
// certificate's agent, whatever the agent wrote. MALFORMED_BATCH.
struct StampedResource {
  std::string bytes;  // serialized Resource
  std::string sha256; // of bytes, 32 raw bytes
  std::string service;
  int64_t pid = 0;
};
base::Result<StampedResource>
stamp(std::string_view resource, std::string_view agent_id, std::string_view hostname);

// Appends the ResourceSpans with its stamped resource and its valid spans to a serialized
// TracesData.
void append_traces(
    const ResourceView& view, std::string_view stamped_resource, std::string& traces);

} // namespace controlplane::ingest
