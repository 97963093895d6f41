// The worker process that reads executables of strangers: unprivileged, without files, sockets or
// new processes, with bounded memory and time. The program re-executes itself for it; main() hands
// over before it does anything else:
//
//   if (argc == 2 && argv[1] == agent::process::kAnalysisWorkerCommand)
//     return agent::process::run_analysis_worker(agent::process::kAnalysisWorkerFd);
#pragma once

#include <cstdint>
#include <string_view>

namespace agent::process {

inline constexpr std::string_view kAnalysisWorkerCommand = "analysis-worker";
inline constexpr int kAnalysisWorkerFd = 3;
// Who the worker runs as when the agent is root: nobody.
inline constexpr uint32_t kAnalysisWorkerUser = 65534;

// Serves requests from `control_fd`, one binary at a time, each in a forked child that is confined
// for good before it looks at the first byte. Ends when the other side closes, or after
// kWorkerIdleMs without a request. Returns an exit code.
int run_analysis_worker(int control_fd);

} // namespace agent::process
