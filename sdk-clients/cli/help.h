// What the help of each command ends with: examples, and what one has to know beyond the flags.
#pragma once

#include <string>
#include <string_view>

namespace cli {

// By the words of the command, e.g. "session run"; "" is `sonde` itself. Empty for a command that
// has none, which a test forbids.
std::string help_epilog(std::string_view command);

} // namespace cli
