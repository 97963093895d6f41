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

} // namespace

void stand_back(int nice) {
  SchedAttr attributes{};
  attributes.size = sizeof(attributes);
  attributes.policy = SCHED_OTHER;
  attributes.nice = std::max(nice, getpriority(PRIO_PROCESS, 0));
  // The slice, from Linux 6.12 on (EEVDF): a task that wakes up waits for the end of the one that
  // runs. Before, it is ignored.
  attributes.runtime_ns = std::chrono::nanoseconds(kSlice).count();
  if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0)
    base::log::warn("nice {}: {}", attributes.nice, std::strerror(errno));
}

} // namespace agent::app
