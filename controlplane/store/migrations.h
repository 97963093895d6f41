// Brings the schema of a database up to this binary's, forward only.
#pragma once

#include "base/result.h"

#include <span>
#include <string>
#include <string_view>

namespace controlplane::store {

// One file of migrations/: 0001_sessions.sql is {1, "0001_sessions", …}.
struct Migration {
  int version;
  std::string_view name;
  std::string_view sql;
};

// The files of migrations/ as they were when this binary was built, by version.
std::span<const Migration> embedded_migrations();

// Applies what is missing, each file in one transaction, under an advisory lock: replicas that
// start together take turns. Answers how many were applied. Refuses, and leaves the database as it
// is:
//   SCHEMA_NEWER       the database holds a migration that this binary does not know
//   MIGRATION_CHANGED  an applied file is not the one in this binary (by SHA-256)
//   MIGRATION_GAP      a file in the middle was never applied
//   MIGRATION_FAILED   a statement failed; its transaction was rolled back
base::Result<int> migrate(
    const std::string& database_url, std::span<const Migration> migrations = embedded_migrations());

} // namespace controlplane::store
