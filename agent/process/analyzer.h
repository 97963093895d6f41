// Asks the confined worker about binaries. The worker is started when it is needed, ends by itself
// when idle, and is replaced when it does not answer.
#pragma once

#include "agent/process/binary_info.h"
#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <string>

namespace agent::process {

// One owner thread. Calls block for as long as an analysis takes: 0.1 s as a rule,
// kAnalysisTimeoutMs at most.
class Analyzer {
 public:
  // `executable` is a program whose main() runs run_analysis_worker() for kAnalysisWorkerCommand.
  explicit Analyzer(std::string executable = "/proc/self/exe")
      : executable_(std::move(executable)) {}
  ~Analyzer();
  Analyzer(const Analyzer&) = delete;
  Analyzer& operator=(const Analyzer&) = delete;

  // `file` is open for reading. NOT_A_GO_PROGRAM, BINARY_UNSUPPORTED, BINARY_MALFORMED,
  // LAYOUT_CONFLICT; and ANALYSIS_FAILED when the worker crashed over it, took too long, or
  // answered with what cannot be.
  base::Result<BinaryInfo> analyse(int file, const FactRequest& request);

  pid_t worker_pid() const { return worker_; } // -1 when none runs
  void end_worker();                           // the next call starts another one

 private:
  base::Result<void> start_worker();

  std::string executable_;
  base::Fd control_;
  pid_t worker_ = -1;
};

} // namespace agent::process
