// Batches from agents, made durable: checked, stamped, stored once, counted, and answered only
// then.
#pragma once

#include "base/result.h"
#include "controlplane/ingest/limits.h"
#include "controlplane/store/batches.h"
#include "controlplane/store/pool.h"

#include "sonde/v1/agent_results_service.pb.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace controlplane::ingest {

// A batch that became durable just now.
struct StoredBatch {
  std::string_view session_id;
  std::string_view agent_id;
  std::string_view hostname;
  bool kept = false;     // its spans are in the store
  bool exported = false; // it waits for a destination
  // Serialized OTLP TracesData, stamped; empty when the spans were kept and not exported.
  std::string_view traces;
};

struct IngestStats {
  uint64_t batches_accepted = 0;
  uint64_t batches_duplicate = 0;
  uint64_t batches_refused = 0;
  uint64_t batches_retried = 0; // told to come again
  uint64_t spans_accepted = 0;
  uint64_t spans_invalid = 0;
  uint64_t transactions = 0;
  uint64_t queue_bytes = 0; // now
};

// Thread-safe. Owns kWriters threads, each of which takes what waits and stores it in one
// transaction, and one that prepares the days to come and removes what is past its time: days of
// results, ended sessions, audit events.
class Ingest {
 public:
  // Called once, from a writer thread or from submit(); must not block.
  using Done = std::function<void(sonde::v1::UploadResponse)>;
  // Called after the commit, from a writer thread; must not block.
  using Listener = std::function<void(const StoredBatch&)>;

  // `pool` outlives this object.
  Ingest(store::Pool& pool, Listener listener, store::Retention retention = {});
  ~Ingest(); // stop()

  // A serialized UploadRequest of this agent, as its certificate says. A full queue answers RETRY
  // at once.
  void submit(std::string agent_id, std::string message, Done done);
  // Answers what waits with RETRY and joins the threads.
  void stop();

  IngestStats stats() const;

 private:
  class Writers;
  std::unique_ptr<Writers> writers_;
};

} // namespace controlplane::ingest
