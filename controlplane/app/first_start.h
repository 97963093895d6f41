// What the first start of sonded makes in its state directory, so that one command is enough.
#pragma once

#include "base/result.h"

#include <filesystem>
#include <string>

namespace controlplane::app {

inline constexpr char kTokensFile[] = "api-tokens"; // what sonded reads
inline constexpr char kAdminTokenFile[] =
    "admin.token"; // what an administrator gives to the CLI, mode 0600
inline constexpr char kAuthorityFile[] = "ca.pem"; // what clients trust, mode 0644

// The token file of a state directory; made, with one new admin token, when it is missing. Both
// files are 0600.
base::Result<std::filesystem::path> make_api_tokens(const std::filesystem::path& state_dir);

// Written beside its place and moved there, so that no reader sees half of it.
base::Result<>
write_file(const std::filesystem::path& path, const std::string& text, unsigned mode);

} // namespace controlplane::app
