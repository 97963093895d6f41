// The build information that the Go linker leaves in every executable: by it a program is known to
// be Go.
#pragma once

#include "agent/process/image.h"

namespace agent::process {

struct BuildInfo {
  std::string go_version_text;
  GoVersion go_version;
  std::string main_package;
  std::string main_module;
  std::vector<Module> modules;
  std::string raw; // version and module text as they stand, for the content hash
};

// Both formats: pointers to Go strings (to 1.17) and inline (1.18 on), with or without section
// headers. NOT_A_GO_PROGRAM when there is none; BINARY_UNSUPPORTED when its version is outside 1.17
// … 1.27.
base::Result<BuildInfo> read_build_info(const Image& image);

// "go1.22.12 X:boringcrypto" → 1.22.12; nothing for development versions.
std::optional<GoVersion> parse_go_version(std::string_view text);

} // namespace agent::process
