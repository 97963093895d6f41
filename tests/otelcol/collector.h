// The OpenTelemetry Collector as a child process: OTLP/gRPC on a free port of the loopback, each
// request a line of OTLP JSON in a file. Ends with its object, and with the test binary when that
// is killed.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace otelcol {

class Collector {
 public:
  // Why there is none, or empty: it could not be built without network.
  static std::string skip_reason();

  // Starts it and waits until it takes requests; aborts when it does not.
  Collector();
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void stop();
  // Again, at the same address, with the same file.
  void start();
  // The requests it took so far.
  std::vector<std::string> lines() const;

 private:
  std::string folder_;
  int port_ = 0;
  pid_t pid_ = -1;
};

} // namespace otelcol
