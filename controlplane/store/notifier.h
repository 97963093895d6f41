// Of the store's bodies only: one NOTIFY for many commits.
#pragma once

#include "controlplane/store/connection.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace controlplane::store {

inline constexpr const char* kChangeChannel = "sonde_changes";

// A committing NOTIFY takes a lock of the whole PostgreSQL instance, so writers do not send it
// themselves: after their commit they ask this one, which sends one for all that asked meanwhile,
// on a connection of its own. A NOTIFY lost with this process is made good by the slow poll of the
// readers. Thread-safe.
class Notifier {
 public:
  explicit Notifier(ConnectionOptions options);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void wake();

 private:
  void run();

  const ConnectionOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool wanted_ = false;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::store
