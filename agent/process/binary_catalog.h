// What is known of each executable on this host: from memory, from the cache on disk, or from the
// worker, one at a time. Owns the thread that waits for analyses.
#pragma once

#include "agent/process/analyzer.h"
#include "agent/process/fact_cache.h"
#include "agent/process/inventory.h"
#include "base/fd.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace agent::process {

// Facts, or why there are none. Shared by all processes of one program.
struct BinaryOutcome {
  std::shared_ptr<const BinaryInfo> binary;
  std::optional<base::Error> refusal;
  bool is_go() const { return binary != nullptr || refusal->reason != "NOT_A_GO_PROGRAM"; }
};

// Programs that were just started come before those that a scan found running.
enum class Urgency : uint8_t { kScanned, kStarted };

// Called by the follower's thread alone.
class BinaryCatalog {
 public:
  BinaryCatalog(const InventoryOptions& options, InventoryCounters& counters);
  ~BinaryCatalog();

  // What is known already; or nothing.
  std::optional<BinaryOutcome> find(const FileIdentity& identity);
  // Whether it will be, without a further request.
  bool is_pending(const FileIdentity& identity) const { return pending_.contains(identity); }
  // Asks for an analysis. False when too many wait.
  bool request(const FileIdentity& identity, base::Fd file, Urgency urgency);
  // Readable when analyses are finished; take() returns them.
  int fd() const { return finished_event_.get(); }
  std::vector<std::pair<FileIdentity, BinaryOutcome>> take();

 private:
  struct Job {
    FileIdentity identity;
    base::Fd file;
  };
  struct Known {
    BinaryOutcome outcome;
    std::chrono::steady_clock::time_point forget_at;
  };
  void run();
  BinaryOutcome examine(const Job& job);
  std::shared_ptr<const BinaryInfo> shared(BinaryInfo info);

  FactRequest request_;
  InventoryCounters& counters_;
  std::map<FileIdentity, Known> known_;
  std::map<FileIdentity, bool> pending_;

  // Of the analysis thread.
  Analyzer analyzer_;
  FactCache cache_;
  std::map<std::string, std::weak_ptr<const BinaryInfo>> by_hash_;

  std::mutex mutex_; // for what follows
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  std::vector<std::pair<FileIdentity, BinaryOutcome>> finished_;
  bool stopping_ = false;
  base::Fd finished_event_;
  std::jthread thread_; // last: it uses all of the above
};

} // namespace agent::process
