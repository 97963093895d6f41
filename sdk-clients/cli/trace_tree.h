// A trace as a tree of spans with times and bars. Pure.
#pragma once

#include "sdk-clients/cli/table.h"

#include "sonde/v1/result_service.pb.h"

#include <string>

namespace cli {

// One line a span, children under their parent by start time. Spans whose parent is not in the
// trace stand at the left with "…" before them: their parent lies in a service that is not traced.
//
//   trace 0af7651916cd43dd8448eb211c80319c · 3 spans · 2 services · 12.4 ms
//   shop       GET /checkout   SERVER  200   +0 ns    12.4 ms  ████████████████████
//   shop       └─ GET          CLIENT  200   1.20 ms  8.07 ms  ··█████████████
//   inventory     └─ GET       SERVER  200   1.55 ms  7.71 ms  ···████████████
//
// Spans that the answer had no room for are counted in a line below.
std::string render_trace(const sonde::v1::Trace& trace, const Style& style);

} // namespace cli
