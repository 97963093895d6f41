// Root only as long as it is needed: sonded runs, and its private PostgreSQL with it, as a user of
// its own.
#pragma once

#include "base/result.h"

#include <filesystem>
#include <string>

namespace controlplane::store {

inline constexpr const char* kUnprivilegedUser = "sonde";

// Does nothing when this process is not root. Else: makes the system user when it is missing
// (useradd), gives it the state directory (made when missing), and becomes it for good: uid, gid,
// no further groups, no capabilities. Call in main before any thread starts. What only root may
// read (an API token file of mode 0600) is to be read before. Errors:
//   USER_MISSING        the user does not exist and could not be made
//   STATE_DIR_UNUSABLE  the user cannot reach the directory (a home of mode 0700 above it), or it
//   belongs to
//                       somebody else
base::Result<void> become_unprivileged(
    const std::filesystem::path& state_dir, const std::string& user = kUnprivilegedUser);

} // namespace controlplane::store
