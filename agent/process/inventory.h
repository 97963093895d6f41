// The Go processes of this host, as they come and go, with what their binaries say.
#pragma once

#include "agent/process/process.h"
#include "base/queue.h"
#include "base/result.h"

#include <atomic>
#include <memory>
#include <string>

namespace agent::process {

struct InventoryEvent {
  enum class Kind : uint8_t { kAppeared, kEnded };
  Kind kind = Kind::kAppeared;
  GoProcess process; // kEnded: as it appeared
};

struct InventoryOptions {
  FactRequest request;
  std::string cache_directory;           // facts of binaries; empty: none are kept
  std::string worker = "/proc/self/exe"; // see Analyzer
  std::string proc_directory = "/proc";
  bool use_tracepoints = true; // false: a scan a second, for tests and for hosts that forbid them
};

// What it did so far; only grows.
struct InventoryCounters {
  std::atomic<uint64_t> exec_events{0};
  std::atomic<uint64_t> exec_events_lost{0}; // made up for by a scan
  std::atomic<uint64_t> scans{0};
  std::atomic<uint64_t> analyses{0};
  std::atomic<uint64_t> analyses_failed{0};
  std::atomic<uint64_t> cache_hits{0};        // on disk
  std::atomic<uint64_t> binaries_deferred{0}; // too many at once; found again by the next scan
  std::atomic<uint64_t> events_dropped{0};    // the queue was full
};

// Two threads of its own: one follows processes, one waits for analyses. Events are pushed to the
// queue that start() was given: kAppeared once for each Go process (also when its binary was
// refused; never for other programs), kEnded once for each that appeared. A process that execs
// another program ends and appears anew under the same pid. Exits are learned from pidfds, which
// tell them at once and for the whole process, where the tracepoint tells of threads.
class Inventory {
 public:
  // Never fails for want of tracepoints: see limitation(). `events` must outlive the inventory.
  static base::Result<std::unique_ptr<Inventory>>
  start(InventoryOptions options, base::Queue<InventoryEvent>& events);
  ~Inventory(); // ends both threads; waits for an analysis that is under way
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  // Empty; or why a new process is only seen within a second, for people.
  const std::string& limitation() const;
  const InventoryCounters& counters() const; // thread-safe

 private:
  Inventory();
  class Follower;
  std::unique_ptr<Follower> follower_;
};

} // namespace agent::process
