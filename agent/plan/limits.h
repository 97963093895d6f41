// Limits of planning; what is beyond them is refused with a reason.
#pragma once

#include <cstddef>

namespace agent::plan {

// Instructions of a function that are looked at for a site: the longest Go prologue (a huge frame)
// has seven.
inline constexpr size_t kSiteInstructionsMax = 24;
// Of one agent; each takes a place in the fan-out of every event.
inline constexpr size_t kSessionsMax = 16;
// Rows of one status: a session on more processes reports the rest in its sentence.
inline constexpr int kProbeStatusesMax = 256;
// Of all sessions together; a row of the process table each.
inline constexpr size_t kTracedProcessesMax = 1024;

} // namespace agent::plan
