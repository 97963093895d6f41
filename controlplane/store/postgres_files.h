// Of the private PostgreSQL: what lies where, on disk and in the installation.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

namespace controlplane::store {

// The layout below <state-dir>/postgres.
struct PostgresFiles {
  std::filesystem::path root;   // 0700, ours
  std::filesystem::path data;   // the cluster; complete or absent
  std::filesystem::path log;    // what PostgreSQL says
  std::filesystem::path socket; // directory of the Unix socket
  std::filesystem::path bin;    // of the PostgreSQL that fits the data
};

// Makes the directories, and finds the programs that fit: those of the data's version, else the
// newest.
//   STATE_DIR_UNUSABLE        cannot be created or entered, or belongs to somebody else
//   POSTGRES_NOT_INSTALLED    no server programs on this host
//   POSTGRES_VERSION_MISSING  the data was made by a version that is not installed
base::Result<PostgresFiles> prepare_postgres_files(
    const std::filesystem::path& state_dir, const std::filesystem::path& install_root);

// Held by the one sonded that runs this private PostgreSQL, given up by its end. STATE_DIR_IN_USE.
base::Result<base::Fd> lock_postgres_files(const PostgresFiles& files);

// What <data>/postmaster.pid says.
struct PostmasterFile {
  pid_t pid = -1;
  std::filesystem::path socket;
};
// A server of ours that is running; nothing when there is none. A stale file whose pid belongs to
// another program now, which PostgreSQL itself would stumble over, is removed.
std::optional<PostmasterFile> find_running_postmaster(const PostgresFiles& files);

// The last lines of the log, for an error message.
std::string tail_of_log(const PostgresFiles& files);

} // namespace controlplane::store
