// From what the store holds to what the contract shows. Pure.
#pragma once

#include "controlplane/store/spans.h"

#include "sonde/v1/result_service.pb.h"

#include <string_view>
#include <vector>

namespace controlplane::stitch {

// A span whose OTLP bytes do not parse is shown without attributes.
sonde::v1::Span to_span(const store::SpanRow& row);
sonde::v1::TraceSummary to_summary(const store::TraceRow& row);
// Spans that follow each other with the same resource share one ResourceSpans.
sonde::v1::Trace to_trace(const std::vector<store::TraceSpan>& spans);

// The rows of spans that were never stored.
std::vector<sonde::v1::Span>
to_spans(std::string_view traces, std::string_view agent_id, std::string_view hostname);

} // namespace controlplane::stitch
