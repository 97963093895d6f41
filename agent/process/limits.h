// Every bound of agent/process, with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

namespace agent::process {

// Enough for any prologue with its stack check; planners decode from here.
inline constexpr size_t kFunctionCodeBytesMax = 160;

} // namespace agent::process
