// Everything that is read from one executable, in one pass. Pure: bytes in, facts out. It runs in
// the confined worker (worker.h); only tests and fuzzers call it in their own process.
#pragma once

#include "agent/process/binary_info.h"
#include "agent/process/image.h"
#include "base/result.h"

namespace agent::process {

// NOT_A_GO_PROGRAM: what it says. BINARY_UNSUPPORTED: a Go that is not supported. BINARY_MALFORMED:
// it contradicts itself. LAYOUT_CONFLICT: the runtime's own description of its module data is
// another than that of its version. A single fact that is missing is no error; see
// BinaryInfo::missing.
base::Result<BinaryInfo> analyse(Bytes file, const FactRequest& request);

} // namespace agent::process
