// One OTLP/gRPC receiver, and what its answers mean.
#pragma once

#include "base/result.h"
#include "controlplane/export/destination.h"

#include <grpcpp/channel.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace controlplane::exporter {

// https://opentelemetry.io/docs/specs/otlp/#failures
enum class Verdict {
  kDelivered,
  kRetry,         // later
  kRetryOrSplit,  // too much at once, or too much for now: the receiver does not say
  kReject,        // never
  kMisconfigured, // the receiver does not want us at all: somebody has to look
};
struct Delivery {
  Verdict verdict = Verdict::kDelivered;
  uint64_t rejected_spans = 0; // of a partial success
  std::optional<std::chrono::milliseconds> retry_after;
  std::string message;
};
// Pure: what a gRPC status of an Export call asks for.
Delivery judge(const grpc::Status& status);

// Owned by one thread.
class Client {
 public:
  // DESTINATION_CA_UNREADABLE. Does not connect yet.
  static base::Result<std::unique_ptr<Client>> make(const Destination& destination);
  ~Client();

  // Sends a serialized ExportTraceServiceRequest (the same bytes as a TracesData) and waits for the
  // answer.
  Delivery send(std::string traces);
  // Ends a send() that is under way. Any thread.
  void cancel();

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

} // namespace controlplane::exporter
