// The last look before a probe is attached: are the bytes still those that it was planned on?
#pragma once

#include "agent/plan/plan.h"

#include <span>

namespace agent::probe {

// Reads what the process has mapped as its executable and compares it at every site.
// LAYOUT_CONFLICT when it differs, PROCESS_GONE when the process is gone.
base::Result<> verify_sites(uint32_t pid, std::span<const plan::FunctionSite> sites);

} // namespace agent::probe
