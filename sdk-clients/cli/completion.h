// Completion scripts for shells, made from the same tree of commands that is parsed.
#pragma once

#include "base/result.h"

#include <string>
#include <vector>

namespace cli {

struct CommandWords {
  std::vector<std::string> path;  // empty for `sonde` itself
  std::vector<std::string> words; // subcommands and options that may follow
};

// For "bash", "zsh" or "fish"; USAGE otherwise.
base::Result<std::string>
completion_script(const std::string& shell, const std::vector<CommandWords>& commands);

} // namespace cli
