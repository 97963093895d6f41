// Limits of the probe thread.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::probe {

// A link of the multi kind takes 30 to 80 ms to close, nearly all of it waiting: so many are closed at a time.
inline constexpr size_t kClosingThreadsMax = 32;
// Past its lease a session is detached within this.
inline constexpr std::chrono::milliseconds kTick{250};

} // namespace agent::probe
