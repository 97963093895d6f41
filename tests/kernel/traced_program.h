// A running Go program as agent/process would find it, and requests to it. For tests.
#pragma once

#include "agent/process/process.h"
#include "base/result.h"
#include "tests/programs/running_program.h"

#include <string>

namespace kernel_test {

// Analyses the program's file in this process; not for position-independent executables.
base::Result<agent::process::GoProcess> go_process_of(const programs::RunningProgram& program);

// One request on a connection of its own, and everything that came back; empty when nothing did.
std::string
http_get(const std::string& address, const std::string& target, const std::string& headers = "");

} // namespace kernel_test
