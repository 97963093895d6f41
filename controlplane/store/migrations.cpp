#include "controlplane/store/migrations.h"

#include "base/hex.h"
#include "base/log.h"
#include "controlplane/store/connection.h"

#include <fmt/format.h>

#include <map>

namespace controlplane::store {
namespace {

using base::Code;
using base::Error;
using base::Result;

// Any number that nobody else uses in the same database: "sonde" in ASCII.
constexpr int64_t kMigrationLock = 0x736f6e6465;

struct Applied {
  std::string name;
  std::string sha256;
};

std::string checksum(const Migration& migration) {
  return base::to_hex(base::sha256(migration.sql));
}

std::map<int, Applied> read_applied(pqxx::connection& pq) {
  pqxx::nontransaction tx(pq);
  tx.exec("create table if not exists schema_migrations ("
          "  version int primary key,"
          "  name text not null,"
          "  sha256 text not null,"
          "  apply_time timestamptz not null default now())");
  std::map<int, Applied> applied;
  for (const auto& row : tx.exec("select version, name, sha256 from schema_migrations"))
    applied[row[0].as<int>()] = {row[1].as<std::string>(), row[2].as<std::string>()};
  return applied;
}

Result<void>
check_history(const std::map<int, Applied>& applied, std::span<const Migration> migrations) {
  const int newest_known = migrations.empty() ? 0 : migrations.back().version;
  const int newest_applied = applied.empty() ? 0 : applied.rbegin()->first;
  if (newest_applied > newest_known)
    return base::failed_precondition(
        "SCHEMA_NEWER",
        fmt::format(
            "the database has schema {} ({}), this sonded knows up to {}: start a newer sonded",
            newest_applied, applied.rbegin()->second.name, newest_known));
  for (const Migration& migration : migrations) {
    auto found = applied.find(migration.version);
    if (found == applied.end() && migration.version < newest_applied)
      return base::failed_precondition(
          "MIGRATION_GAP", fmt::format(
                               "{} was never applied, but schema {} was: restore the database "
                               "from a backup",
                               migration.name, newest_applied));
    if (found != applied.end() && found->second.sha256 != checksum(migration))
      return base::failed_precondition(
          "MIGRATION_CHANGED",
          fmt::format(
              "{} was applied as {} with SHA-256 {}, this sonded has {}: an applied migration "
              "never changes",
              migration.name, found->second.name, found->second.sha256, checksum(migration)));
  }
  return {};
}

Result<void> apply(pqxx::connection& pq, const Migration& migration) {
  try {
    pqxx::work tx(pq);
    tx.exec(std::string(migration.sql));
    tx.exec_params(
        "insert into schema_migrations (version, name, sha256) values ($1, $2, $3)",
        migration.version, std::string(migration.name), checksum(migration));
    tx.commit();
    return {};
  } catch (...) {
    Failure failure = failure_of_exception();
    if (failure.kind == FailureKind::kLost) return std::move(failure.error);
    return Error{Code::kInternal, "MIGRATION_FAILED", failure.error.message, {}}.context(
        migration.name);
  }
}

Result<int> migrate_locked(pqxx::connection& pq, std::span<const Migration> migrations) {
  auto applied = read_applied(pq);
  TRY(check_history(applied, migrations));
  int count = 0;
  for (const Migration& migration : migrations) {
    if (applied.contains(migration.version)) continue;
    TRY(apply(pq, migration));
    base::log::info("store: applied migration {}", migration.name);
    ++count;
  }
  return count;
}

} // namespace

Result<int> migrate(const std::string& database_url, std::span<const Migration> migrations) {
  auto connection = TRY(connect({database_url, "sonded migrations", {}}));
  try {
    // Ends with the connection, whatever happens.
    pqxx::nontransaction(connection->pq).exec_params("select pg_advisory_lock($1)", kMigrationLock);
    return migrate_locked(connection->pq, migrations);
  } catch (...) {
    return failure_of_exception().error;
  }
}

} // namespace controlplane::store
