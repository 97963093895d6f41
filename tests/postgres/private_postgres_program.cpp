// private_postgres_program STATE_DIR [USER]: runs a private PostgreSQL as sonded would, for
// private_postgres_pgtest. Says "ready PID adopted|started" or "failed REASON message", then
// answers each line of SQL on stdin with the first field of its result, and ends in order when
// stdin ends.
#include "base/log.h"
#include "controlplane/store/pool.h"
#include "controlplane/store/private_postgres.h"
#include "controlplane/store/unprivileged_user.h"

#include <fmt/format.h>

#include <iostream>
#include <string>

using controlplane::store::Pool;
using controlplane::store::PrivatePostgres;
using controlplane::store::Result;
using controlplane::store::Transaction;

namespace {

int fail(const base::Error& error) {
  fmt::print("failed {} {}\n", error.reason, error.message);
  return 1;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  base::set_up_log("private_postgres_program", base::LogFormat::kText, "info");
  if (argc > 2) {
    auto became = controlplane::store::become_unprivileged(argv[1], argv[2]);
    if (!became.ok()) return fail(became.error());
  }
  auto postgres = PrivatePostgres::start({.state_dir = argv[1]});
  if (!postgres.ok()) return fail(postgres.error());
  auto pool = Pool::make({.database_url = (*postgres)->database_url()});
  if (!pool.ok()) return fail(pool.error());
  fmt::print(
      "ready {} {}\n", (*postgres)->postmaster_pid(),
      (*postgres)->adopted() ? "adopted" : "started");
  std::fflush(stdout);
  for (std::string sql; std::getline(std::cin, sql);) {
    auto field = (*pool)->transaction([&](Transaction& tx) -> Result<std::string> {
      auto rows = TRY(tx.exec(sql));
      return rows.empty() ? std::string("-") : rows.front().text("f");
    });
    fmt::print("{}\n", field.ok() ? *field : std::string(field.error().reason));
    std::fflush(stdout);
  }
  pool->reset();
  return 0;
}
