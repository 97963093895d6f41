// A PostgreSQL of sonded's own, for when no --database-url is given. After start() it is a database
// like any other.
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "controlplane/store/postgres_files.h"

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>

namespace controlplane::store {

struct PrivatePostgresOptions {
  std::filesystem::path state_dir;
  // Debian keeps every version in a folder of its own here.
  std::filesystem::path install_root = "/usr/lib/postgresql";
};

// Listens on a Unix socket only, which only our user can reach, and knows its one user by peer
// authentication. Data is durable (fsync). It ends with this object, and by a signal of the kernel
// when this process is killed. One that outlived its sonded nevertheless is adopted by the next
// start. When the server ends by itself it is started again. Thread-safe.
class PrivatePostgres {
 public:
  // Waits until the server answers; logs what takes time. Not for root (POSTGRES_REFUSES_ROOT):
  // call become_unprivileged() first. Further errors are those of postgres_files.h and
  //   POSTGRES_FAILED  initdb or the server failed; the message ends with its own words
  static base::Result<std::unique_ptr<PrivatePostgres>>
  start(const PrivatePostgresOptions& options);
  ~PrivatePostgres(); // ends the server; close connections before
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  const std::string& database_url() const { return database_url_; }
  // True when the server was running already.
  bool adopted() const { return adopted_; }
  pid_t postmaster_pid() const { return postmaster_; }

 private:
  PrivatePostgres(PostgresFiles files, base::Fd lock);
  void supervise(std::promise<base::Result<void>> started);
  base::Result<void> adopt_or_launch();
  base::Result<void> launch();
  base::Result<void> wait_until_it_answers();
  bool postmaster_has_ended();
  void wait_for_end_or_stop();
  void stop_postmaster();

  const PostgresFiles files_;
  const base::Fd lock_;
  std::string database_url_;
  base::Fd stop_event_;
  std::atomic<pid_t> postmaster_ = -1;
  std::atomic<bool> adopted_ = false;
  base::Fd postmaster_fd_; // a pidfd
  // Launches the server, so that the kernel's parent-death signal follows this thread, and watches
  // it.
  std::jthread supervisor_;
};

} // namespace controlplane::store
