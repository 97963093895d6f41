// The real sonded as a process of its own, on a database of the PostgreSQL fixture, and what a
// client needs of it.
#pragma once

#include "tests/postgres/postgres_fixture.h"

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sonded_fixture {

struct HttpAnswer {
  unsigned status = 0;
  std::map<std::string, std::string> headers; // names in lower case
  std::string body;
};

class ScopedSonded {
 public:
  // Waits until it listens; aborts with its log when it does not.
  explicit ScopedSonded(const std::vector<std::string>& further_flags = {});
  ~ScopedSonded(); // SIGKILL when stop() was not called
  ScopedSonded(const ScopedSonded&) = delete;
  ScopedSonded& operator=(const ScopedSonded&) = delete;

  // One request on a connection of its own. `role` is viewer, operator, admin, or "" for no token.
  HttpAnswer rest(
      const std::string& verb, const std::string& target, const std::string& body = "",
      const std::string& role = "admin",
      const std::map<std::string, std::string>& headers = {}) const;
  // Sends bytes as they are; everything that comes back until the server closes.
  std::string raw(const std::string& bytes) const;
  HttpAnswer metrics() const;

  std::shared_ptr<grpc::Channel> channel() const { return channel_; }
  // The token of a role, for "authorization".
  static std::string bearer(const std::string& role) { return "Bearer token-of-" + role; }

  uint16_t rest_port() const { return rest_port_; }
  std::filesystem::path authority_file() const { return directory_ / "state" / "ca.pem"; }

  postgres_fixture::ScopedDatabase& database() { return database_; }
  controlplane::store::Pool& pool() { return *pool_; }
  pid_t pid() const { return pid_; }
  size_t resident_bytes() const;
  std::string log() const;
  // SIGTERM; the exit status, or -1 when a signal ended it.
  int stop();

 private:
  void launch(const std::vector<std::string>& further_flags);
  void wait_until_it_listens();
  HttpAnswer request(
      uint16_t port, const std::string& verb, const std::string& target, const std::string& body,
      const std::map<std::string, std::string>& headers) const;

  postgres_fixture::ScopedDatabase database_;
  std::unique_ptr<controlplane::store::Pool> pool_;
  std::filesystem::path directory_;
  pid_t pid_ = -1;
  uint16_t rest_port_ = 0;
  uint16_t metrics_port_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
};

} // namespace sonded_fixture
