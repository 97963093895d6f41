#include "agent/app/scheduling.h"

#include "agent/app/limits.h"
#include "base/log.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace agent::app {
namespace {

// include/uapi/linux/sched/types.h, which cannot be included beside <sched.h>.
struct SchedAttr {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns;
  uint64_t deadline_ns;
  uint64_t period_ns;
};
static_assert(sizeof(SchedAttr) == 48, "SCHED_ATTR_SIZE_VER0");

// Of the calling thread; false, with errno, when the kernel refuses.
bool set_nice(int nice) {
  SchedAttr attributes{};
  attributes.size = sizeof(attributes);
  attributes.policy = SCHED_OTHER;
  attributes.nice = nice;
  // The slice, from Linux 6.12 on (EEVDF): a task that wakes up waits for the end of the one that
  // runs. Before, it is ignored.
  attributes.runtime_ns = std::chrono::nanoseconds(kSlice).count();
  return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

int nice_now() { return getpriority(PRIO_PROCESS, 0); }

} // namespace

void stand_back(int nice) {
  nice = std::max(nice, nice_now());
  if (!set_nice(nice)) base::log::warn("nice {}: {}", nice, std::strerror(errno));
}

void ReaderPriority::piled_up() {
  piled_up_at_ = clock_.boot_time();
  if (nice_behind_ || refused_) return;
  const int behind = nice_now();
  refused_ = !set_nice(std::max(0, behind - kNiceStep));
  if (refused_)
    base::log::info("records pile up and the reader cannot step forward: {}", std::strerror(errno));
  else
    nice_behind_ = behind;
}

void ReaderPriority::kept_up() {
  if (!nice_behind_ || clock_.boot_time() - piled_up_at_ < kCalm) return;
  set_nice(*nice_behind_);
  nice_behind_.reset();
}

} // namespace agent::app
