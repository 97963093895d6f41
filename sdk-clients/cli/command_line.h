// What was typed, understood: flags and subcommands to one command that is ready to run.
#pragma once

#include "sdk-clients/cli/commands.h"
#include "sdk-clients/cpp/config.h"

#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace cli {

struct GlobalOptions {
  sonde::ConfigSource source;
  std::string config_file;
  Format format = Format::kTable;
  std::chrono::nanoseconds timeout{};
};

// A command that talks to the server.
struct Invocation {
  GlobalOptions global;
  std::function<Outcome(Context&)> command;
};

// Something that needs no server: help, version, completion scripts, or a complaint about the
// command line.
struct Answer {
  std::string out;
  std::string err;
  ExitCode exit_code = kSuccess;
};

// Pure: prints nothing and exits nowhere.
std::variant<Invocation, Answer> parse_command_line(const std::vector<std::string>& arguments);

} // namespace cli
