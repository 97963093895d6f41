// HTTP/1.1 over TCP or TLS on Boost.Beast: connections with limits and deadlines, one thread for
// all sockets.
#pragma once

#include "base/result.h"
#include "controlplane/edge/call_metrics.h"
#include "controlplane/edge/http.h"
#include "controlplane/edge/limits.h"
#include "controlplane/edge/workers.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace controlplane::edge {

struct TlsIdentity {
  std::string chain_pem;
  std::string key_pem;
};

// How long a peer may take; see limits.h. Tests are less patient.
struct HttpTimeouts {
  std::chrono::milliseconds header = kHeaderTimeout;
  std::chrono::milliseconds body = kBodyTimeout;
  std::chrono::milliseconds write = kWriteTimeout;
  std::chrono::milliseconds idle = kIdleTimeout;
};

struct HttpServerOptions {
  std::string address = "127.0.0.1"; // an IP address
  uint16_t port = 0;                 // 0: any free one
  // Without it the server speaks plaintext, and only on loopback (PLAINTEXT_ON_NETWORK otherwise).
  std::optional<TlsIdentity> tls;
  HttpTimeouts timeouts = {};
  size_t connections_max = kConnectionsMax;
};

// Sockets belong to its own thread; handlers run on the workers. Everything it refers to outlives
// it.
class HttpServer {
 public:
  // Listens when it returns. ADDRESS_UNUSABLE when the address does not parse or is taken,
  // INVALID_CERTIFICATE for a bad identity.
  static base::Result<std::unique_ptr<HttpServer>>
  start(HttpServerOptions options, HttpHandler& handler, Workers& workers, CallMetrics& metrics);
  // stop(); the workers may be gone by then.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "http://127.0.0.1:8080", with the port that was really taken.
  std::string url() const;
  uint16_t port() const;
  // No new connections; those that wait for a request are closed, the others after their answer.
  // Streams end. Returns at once.
  void drain();
  // Ends its thread; nothing is read or written any more.
  void stop();
  struct Stats {
    size_t connections;
    size_t streams;
  };
  Stats stats() const;
  // New connections use this from now on; only for a server that began with TLS.
  base::Result<> set_tls_identity(const TlsIdentity& identity);

  class Shared;

 private:
  explicit HttpServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;
};

} // namespace controlplane::edge
