// Spans leave to OTLP destinations, at least once, in the order they were stored, from one replica
// at a time.
#pragma once

#include "controlplane/export/destination.h"
#include "controlplane/export/limits.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace controlplane::store {
class Pool;
}

// `export` is a keyword: the namespace of this folder is `exporter`.
namespace controlplane::exporter {

// Of one destination, since the start of this replica.
struct DestinationStats {
  std::string name;
  bool exporting = false; // this replica has the right to
  uint64_t sent_spans = 0;
  uint64_t rejected_spans = 0; // by the destination, for good
  uint64_t requests = 0;
  uint64_t failures = 0; // requests that will be tried again
  double request_seconds = 0;
  std::string last_error; // empty when the last request succeeded
};

struct Options {
  int64_t waiting_bytes_max = kWaitingBytesMax;
};

// Thread-safe. Owns a thread per destination and one that cleans up. What waits is in the store,
// and how far a destination got too: nothing is lost with this process, and another replica goes on
// within a second or two.
class Exporter {
 public:
  // `pool` outlives this object. DESTINATION_CA_UNREADABLE, TOO_MANY_DESTINATIONS.
  static base::Result<std::unique_ptr<Exporter>>
  start(store::Pool& pool, std::vector<Destination> destinations, Options options = {});
  ~Exporter(); // stop()

  // Ingest stored something for a destination.
  void wake();
  // Ends requests that are under way and joins the threads.
  void stop();
  std::vector<DestinationStats> stats() const;
  // Spans of all replicas that were dropped because a destination was away for too long.
  uint64_t dropped_spans() const;

 private:
  class Worker;
  class Housekeeper;
  Exporter();
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<Housekeeper> housekeeper_;
};

} // namespace controlplane::exporter
