// gRPC: one generic service for every RPC that the dispatch serves, beside the services of agents
// that have reactors of their own; health and reflection.
#pragma once

#include "base/result.h"
#include "controlplane/edge/dispatch.h"
#include "controlplane/edge/http_server.h"
#include "controlplane/edge/workers.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace controlplane::edge {

struct GrpcServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0; // 0: any free one
  // Without it the server speaks plaintext, and only on loopback (PLAINTEXT_ON_NETWORK): tests.
  std::optional<TlsIdentity> tls;
  // Who signs the client certificates of agents, PEM.
  std::string client_authorities_pem;
  // Services with reactors of their own; they outlive the server.
  std::vector<grpc::Service*> services;
};

// Everything it refers to outlives it. Thread-safe.
class GrpcServer {
 public:
  // Listens when it returns. ADDRESS_UNUSABLE.
  static base::Result<std::unique_ptr<GrpcServer>>
  start(GrpcServerOptions options, const Dispatch& dispatch, Workers& workers);
  ~GrpcServer(); // stop(0 s)
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  std::string address() const; // "127.0.0.1:9443", with the port that was really taken
  uint16_t port() const;
  // What gRPC health answers, for "" (the server) alone; SERVING at the start. Ignored after
  // drain().
  void set_serving(bool serving);
  // Health becomes NOT_SERVING for good; calls are still taken.
  void drain();
  // GOAWAY to all; what is not done within `grace` is cancelled. Returns when all is done.
  void stop(std::chrono::milliseconds grace);

 private:
  class Parts;
  explicit GrpcServer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

} // namespace controlplane::edge
