// Limits of controlplane/service.
#pragma once

#include <cstddef>

namespace controlplane::service {

// Audit events that wait to be written; a flood of denied calls beyond it is counted, not kept.
inline constexpr size_t kAuditEventsWaitingMax = 10'000;
inline constexpr size_t kAuditBatchMax = 500;

} // namespace controlplane::service
