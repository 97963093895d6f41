// Where a function keeps its arguments, for a probe further down that has to find them.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <span>

namespace agent::plan {

// ABIInternal passes arguments in registers, and the caller leaves room for them above the return
// address, to which the callee may store them. Sees from the first bytes of a function that it
// stores its first two integer arguments there before it calls or branches: they are then found
// 16 and 24 bytes above the frame that its frame pointer names. NO_SITE when it is not to be seen.
base::Result<> keeps_first_arguments(std::span<const uint8_t> code);

} // namespace agent::plan
