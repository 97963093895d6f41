// Batches on their way to the control plane: numbered, kept until they are answered, resent when
// they are not.
#pragma once

#include "agent/telemetry/telemetry.h"
#include "base/clock.h"

#include <grpcpp/channel.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

// `export` is a keyword: the namespace of this folder is `exporter`.
namespace agent::exporter {

// Since the start of the agent.
struct ExporterStats {
  uint64_t batches_sent = 0; // resends included
  uint64_t batches_accepted = 0;
  uint64_t batches_duplicate = 0;
  uint64_t spans_accepted = 0;
  uint64_t spool_batches = 0; // now
  uint64_t spool_bytes = 0;   // now, in memory and in the overflow file
  bool connected = false;     // the Upload stream is open
  // Spans that will never arrive, by reason: SPOOL_FULL, SESSION_NOT_ASSIGNED, ….
  std::map<std::string, uint64_t> lost;
};

// Thread-safe. Owns one thread for timers; answers arrive on gRPC's threads. Opens the Upload
// stream with the first batch and closes it when it has been idle for a while.
class Exporter {
 public:
  // `overflow_folder` takes what does not fit in memory, in a file without a name; empty for none.
  explicit Exporter(std::filesystem::path overflow_folder = {});
  // Drops what was not answered; drain() first.
  ~Exporter();

  // The channel of agent/link (mutual TLS); a new one when the certificate was renewed or the link
  // went to another replica. Null while there is none: batches wait in the spool.
  void set_channel(std::shared_ptr<grpc::Channel> channel);

  // Takes the batch into the spool and sends it as soon as the stream allows. Waits only for a disk
  // that is slower than the spans, and only when kLeavingBytesMax wait for it already.
  void submit(telemetry::SessionBatch batch);

  // Waits until everything was answered; false when that took longer than `timeout`.
  bool drain(std::chrono::milliseconds timeout);

  ExporterStats stats() const;

 private:
  class Spool;
  std::shared_ptr<Spool> spool_;
};

} // namespace agent::exporter
