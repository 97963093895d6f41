// Of the store's bodies only: a libpqxx connection as we use it, and libpqxx's exceptions as
// errors.
#pragma once

#include "base/result.h"

#include <pqxx/pqxx>

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>

namespace controlplane::store {

struct Connection {
  explicit Connection(const std::string& conninfo) : pq(conninfo) {}

  pqxx::connection pq;
  std::unordered_map<std::string, std::string> prepared; // statement text → name
  std::chrono::steady_clock::time_point rested_since = std::chrono::steady_clock::now();
};

struct ConnectionOptions {
  std::string database_url;
  std::string application_name;
  std::chrono::milliseconds statement_timeout{0}; // 0: none
};

// STORE_UNAVAILABLE with libpq's own words (which name host and user, never the password).
base::Result<std::unique_ptr<Connection>> connect(const ConnectionOptions& options);

enum class FailureKind { kConflict, kLost, kOther };
struct Failure {
  FailureKind kind;
  base::Error error;
};
// Of the exception being handled; call it inside a catch.
Failure failure_of_exception();

} // namespace controlplane::store
