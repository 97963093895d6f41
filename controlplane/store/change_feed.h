// Tells this replica what changed in the store, whoever changed it.
//
// Changes are rows with the id of the transaction that wrote them. The reader keeps the snapshot of
// its last read and asks for the rows that have become visible since: at once, whatever other
// transaction stays open, and without missing one that commits late. One NOTIFY per batch of
// commits wakes it; a slow poll stands behind.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "controlplane/store/changes.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace controlplane::store {

struct Change {
  ChangeKind kind;
  std::string key;
};

struct ChangeFeedOptions {
  std::string database_url;
  std::string application_name = "sonded change feed";
  // How long a lost NOTIFY can go unnoticed.
  std::chrono::milliseconds poll_interval{1000};
};

// Owns one thread and one connection, neither of them the pool's: leases depend on it.
class ChangeFeed {
 public:
  // Called on the feed's thread, one at a time. `reload` means that changes may have been missed
  // (the first call, and after an outage): read everything. Otherwise `changes` are the new ones,
  // each thing once.
  struct Batch {
    bool reload = false;
    std::vector<Change> changes;
  };
  using Listener = std::function<void(const Batch&)>;

  ChangeFeed(ChangeFeedOptions options, const base::Clock& clock);
  ~ChangeFeed(); // stop()
  ChangeFeed(const ChangeFeed&) = delete;
  ChangeFeed& operator=(const ChangeFeed&) = delete;

  // Before start().
  void subscribe(Listener listener);
  void start();
  void stop();

  // boot_time at the beginning of the last read that succeeded and was handed to every listener;
  // nothing before the first. A replica whose view is older than a few seconds refreshes no lease.
  // Any thread, never blocks.
  std::optional<base::Nanoseconds> view_time() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

} // namespace controlplane::store
