// What a process gives up before it looks at a stranger's bytes.
#pragma once

#include "base/result.h"

#include <cstdint>

namespace agent::process {

// Becomes an unprivileged user without capabilities that can never gain any, as far as this process
// may: an agent that is not root stays its own user and drops what it has.
base::Result<void> drop_privileges(uint32_t user);

// Gives up, for good, everything but memory and the descriptors already open: no files, sockets,
// processes, executable memory. A forbidden call kills the process (SIGSYS). `mapped_bytes` of
// address space are left for the file.
base::Result<void> confine(uint64_t mapped_bytes);

} // namespace agent::process
