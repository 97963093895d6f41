// What `sonde` exits with: documented in docs/cli.md and in the epilog of `sonde --help`.
#pragma once

#include "base/error.h"

namespace cli {

enum ExitCode : int {
  kSuccess = 0,
  kFailure = 1,      // something unexpected; an error of ours or of the server
  kUsage = 2,        // wrong command line or input file
  kNotAllowed = 3,   // no token, a wrong one, or one without the permission
  kNotFound = 4,     // no such session, agent, rule, …
  kRefused = 5,      // the server understood and refused; the reason says why
  kUnreachable = 6,  // no server, not the one we trust, or no answer in time
  kNotTraced = 7,    // the session failed, or runs on no host
  kInterrupted = 130 // Ctrl-C
};

ExitCode exit_code_of(const base::Error& error);

} // namespace cli
