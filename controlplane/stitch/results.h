// What sessions found, read back: spans as flat rows, traces as summaries, one trace as OTLP.
#pragma once

#include "base/result.h"

#include "sonde/v1/result_service.pb.h"

namespace controlplane::store {
class Pool;
}

namespace controlplane::stitch {

// The reading half of ResultService, a function per RPC. Thread-safe; every call takes one
// connection of the pool for its duration and blocks for the query.
//
// Errors: SESSION_NOT_FOUND, TRACE_NOT_FOUND (not found); INVALID_PAGE_TOKEN, INVALID_FILTER,
// INVALID_TRACE_ID, PAGE_SIZE_NEGATIVE (invalid argument, with the field at fault);
// STORE_UNAVAILABLE.
class Results {
 public:
  // `pool` outlives this object.
  explicit Results(store::Pool& pool) : pool_(pool) {}

  base::Result<sonde::v1::ListSpansResponse> list_spans(const sonde::v1::ListSpansRequest& request);
  base::Result<sonde::v1::ListTracesResponse>
  list_traces(const sonde::v1::ListTracesRequest& request);
  // The spans of the trace and of every trace joined to it, grouped by resource; late and orphaned
  // spans are in it like all others. Beyond kTraceSpansMax the newest are left out, and counted.
  base::Result<sonde::v1::Trace> get_trace(const sonde::v1::GetTraceRequest& request);

 private:
  store::Pool& pool_;
};

} // namespace controlplane::stitch
