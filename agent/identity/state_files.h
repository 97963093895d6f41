// The files of agent/identity in the agent's state directory: mode 0600, replaced whole or not at
// all.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "base/x509.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace agent::identity {

std::filesystem::path key_file(const std::filesystem::path& state_dir);
std::filesystem::path certificate_file(const std::filesystem::path& state_dir);
std::filesystem::path authorities_file(const std::filesystem::path& state_dir);
// SHA-256 of the join token that was traded last.
std::filesystem::path used_token_file(const std::filesystem::path& state_dir);

bool has_file(const std::filesystem::path& path);
base::Result<std::string> read_file(const std::filesystem::path& path);
base::Result<> write_file(const std::filesystem::path& path, std::string_view text);
// STATE_DIR_UNUSABLE when it cannot be.
base::Result<> make_state_dir(const std::filesystem::path& state_dir);
// Makes the directory and keeps other agents out of it as long as the answer lives: two with one
// identity would take the stream from each other for ever. STATE_DIR_IN_USE or STATE_DIR_UNUSABLE.
base::Result<base::Fd> lock_state_dir(const std::filesystem::path& state_dir);
// The same key as long as the file is there: the control plane knows a host whose reply was lost by
// it.
base::Result<base::PrivateKey> load_or_make_key(const std::filesystem::path& state_dir);

} // namespace agent::identity
