// Where spans leave to: named OTLP/gRPC receivers, configured where sonded runs.
#pragma once

#include "base/result.h"

#include <map>
#include <string>
#include <string_view>

namespace controlplane::exporter {

struct Destination {
  std::string name;    // what sessions call it
  std::string address; // host:port
  bool tls = false;
  std::string ca_file;                        // PEM; empty: the system's
  std::map<std::string, std::string> headers; // gRPC metadata, e.g. an API key
};

// `text` is the part behind NAME=: "collector:4317" or "http://collector:4317" for plaintext,
// "https://otel.example:4317" for TLS, and after commas options: ca=/etc/ca.pem,
// header.x-api-key=secret. INVALID_DESTINATION.
base::Result<Destination> parse_destination(std::string_view name, std::string_view text);

} // namespace controlplane::exporter
