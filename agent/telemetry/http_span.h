// One HTTP exchange as an OTLP span, by the semantic conventions 1.44 (HTTP spans, stable).
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/
#pragma once

#include "agent/event/http_exchange.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace agent::telemetry {

constexpr std::string_view kSchemaUrl = "https://opentelemetry.io/schemas/1.44.0";

// Encodes into a buffer of its own that is used again for every span. One thread.
class HttpSpanEncoder {
 public:
  HttpSpanEncoder();

  // The fields of an OTLP `Span` message, serialized, without trace_state (it depends on the
  // session). Valid until the next call. `wall_minus_boot_ns` turns the times of the exchange into
  // unix time.
  std::string_view encode(const event::HttpExchange& exchange, int64_t wall_minus_boot_ns);

 private:
  std::unique_ptr<char[]> buffer_;
  std::string query_; // redacted
  std::string url_;
};

// A request target, split. The path of "*" is "*", of CONNECT it is empty.
struct Target {
  std::string_view scheme; // of the absolute form, which proxies are asked in; else empty
  std::string_view path;
  std::string_view query;     // without '?'
  std::string_view authority; // only of the absolute form and CONNECT
};
Target split_target(std::string_view method, std::string_view target);

// "example.org:8080", "[::1]:80", "user:secret@host": userinfo goes. Port 0: none was named.
struct HostPort {
  std::string_view host;
  uint16_t port = 0;
};
HostPort split_host(std::string_view authority);

// The method when it is one that OpenTelemetry knows, else "_OTHER".
std::string_view known_method(std::string_view method);

// Why the exchange is an error, in few words that repeat (error.type); empty when it is none.
std::string_view error_type(const event::HttpExchange& exchange, std::array<char, 4>& digits);

} // namespace agent::telemetry
