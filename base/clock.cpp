#include "base/clock.h"

#include <ctime>

namespace base {
namespace {

Nanoseconds read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return std::chrono::seconds(now.tv_sec) + Nanoseconds(now.tv_nsec);
}

} // namespace

Nanoseconds SystemClock::boot_time() const { return read_clock(CLOCK_BOOTTIME); }
Nanoseconds SystemClock::wall_time() const { return read_clock(CLOCK_REALTIME); }

} // namespace base
