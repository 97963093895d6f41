// How an agent is started: flags over environment (SONDE_…) over file (YAML) over default.
#pragma once

#include "agent/app/limits.h"
#include "base/log.h"
#include "base/result.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace agent::app {

struct Config {
  std::vector<std::string> servers; // host:port of control planes
  std::filesystem::path state_dir = "/var/lib/sonde-agent";
  std::filesystem::path join_token_file;
  std::string join_token; // from the environment only
  std::filesystem::path policy_file;
  std::map<std::string, std::string> labels; // reported; never used for access
  std::string hostname;                      // empty: the kernel's
  int nice = kNiceDefault;                   // of every thread: 0 to 19, see setpriority(2)
  base::LogFormat log_format = base::LogFormat::kText;
  std::string log_level = "info";
};

// What main should do: run with a configuration, or end at once with this code (after --help,
// --version, or a mistake that was explained already).
struct Invocation {
  std::optional<Config> config;
  int exit_code = 0;
};

Invocation parse_command_line(int argc, const char* const* argv);

} // namespace agent::app
