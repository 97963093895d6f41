// A real PostgreSQL for tests: one cluster per test binary, started when the first test asks for
// it, and a database of its own for every test, copied from a template that has all migrations.
//
//   ScopedDatabase database;
//   auto pool = database.pool();
//
// The cluster listens on a Unix socket in a directory of its own under /tmp and never on a port.
// Started as root it runs as the user postgres. A janitor process ends it and removes the directory
// when the test binary is gone, also after kill -9.
#pragma once

#include "controlplane/store/pool.h"

#include <memory>
#include <string>

namespace postgres_fixture {

class ScopedDatabase {
 public:
  enum class Content { kMigrated, kEmpty };
  // Aborts the test binary with a message when PostgreSQL cannot be started: that is never a skip.
  explicit ScopedDatabase(Content content = Content::kMigrated);
  ~ScopedDatabase(); // drops the database, and the connections that are still open
  ScopedDatabase(const ScopedDatabase&) = delete;
  ScopedDatabase& operator=(const ScopedDatabase&) = delete;

  // A libpq connection string.
  const std::string& url() const { return url_; }
  std::unique_ptr<controlplane::store::Pool> pool() const;
  // With other limits; database_url is set here.
  std::unique_ptr<controlplane::store::Pool> pool(controlplane::store::PoolOptions options) const;

  // As if the server were gone: every connection breaks and none is let in, until it is given back.
  void take_away();
  void give_back();

 private:
  std::string name_;
  std::string url_;
};

} // namespace postgres_fixture
