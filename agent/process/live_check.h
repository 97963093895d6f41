// The last question before a process is traced: does its memory agree with what its file says?
#pragma once

#include "agent/process/process.h"
#include "base/result.h"

namespace agent::process {

// The facts that check_live() needs beyond those that probes ask for. Inventory adds them to its
// request.
FactRequest live_check_facts();
// Both, each name once.
FactRequest merged(FactRequest request, const FactRequest& more);

// Reads the memory of the process (PTRACE_MODE_ATTACH_REALCREDS; it is not stopped, and nothing is
// written) and checks:
//  - the code of every function in the facts is mapped where the load bias says, byte for byte; a
//  single breakpoint of
//    a tracer (int3) may stand in it;
//  - runtime.m0 and its g0 lie in the program's variables and point to each other as runtime.m.g0
//  and runtime.g.m say,
//    m0 belongs to the main thread (runtime.m.procid), and the bounds of g0's stack are in order;
//  - what runs on m0 (runtime.m.curg), when something does, points back to it;
//  - runtime.allgs is found by what it must hold: goroutine 1 first, all with identities of their
//  own (runtime.g.goid).
// LAYOUT_CONFLICT when one does not hold, LAYOUT_MISSING when facts are missing, PROCESS_GONE when
// it ended meanwhile. A program that has just been started is waited for,
// kLiveCheckPatienceAtStartMs at most. Takes about 1 ms. Any thread.
base::Result<void> check_live(const GoProcess& process);

} // namespace agent::process
