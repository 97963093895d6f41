// What the socket said about one HTTP request: the value that passes from agent/event to
// agent/telemetry.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace agent::event {

enum class Side : uint8_t { kServer, kClient };

// How an exchange ended.
enum class Outcome : uint8_t {
  kComplete,   // a final answer, to its last byte
  kPanic,      // the handler panicked and nothing answered
  kAbort,      // http.ErrAbortHandler
  kHijack,     // the handler took the connection over without an answer of its own
  kDisconnect, // the peer went away first
  kTimeout,    // client: its deadline passed
  kCancel,     // client: it gave up before a deadline
  kRefused,    // client: the server accepts no connection
  kUnresolved, // client: the server's name has no address
  kUnreached,  // client: no connection, for another reason
  kReset, // client: the connection broke, or the peer closed it, before the whole answer was there
};

// Address of one end of the connection. IPv4 is kept as it is, not mapped into IPv6.
struct Endpoint {
  std::array<uint8_t, 16> address{};
  uint8_t address_bytes = 0; // 4, 16, or 0 when unknown
  uint16_t port = 0;
};

// Plain value; strings are copies bounded by limits.h. Times are CLOCK_BOOTTIME nanoseconds.
struct HttpExchange {
  Side side = Side::kServer;
  Outcome outcome = Outcome::kComplete;
  uint32_t pid = 0;         // of the process, in the host's pid namespace
  uint64_t goid = 0;        // 0: the bytes stand without a goroutine
  uint64_t parent_goid = 0; // 0: unknown
  uint64_t start_ns = 0;    // server: first byte read; client: the call
  uint64_t answer_ns = 0;   // first byte of the final answer; 0: none
  uint64_t end_ns = 0;      // last byte of the answer

  // Context, resolved when the request began.
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  std::array<uint8_t, 8> parent_span_id{}; // all zero: a root
  bool parent_is_remote = false;
  uint8_t trace_flags = 0; // of the incoming traceparent
  std::string tracestate;  // incoming, as it was
  uint64_t randomness = 0; // 56 bits of the local root; the same for all its children
  uint64_t threshold = 0;  // 56 bits; the kernel kept randomness >= threshold

  std::string method;        // as on the wire
  std::string target;        // request target, as on the wire
  uint8_t version_minor = 1; // HTTP/1.<minor>
  std::string host;
  std::string user_agent;
  int status = 0; // 0: no answer
  // Bytes behind the head, without chunk framing as long as all of it was seen (then exact is
  // true), else with it. The size of a request body that did not come to its end is not exact
  // either.
  uint64_t request_body_bytes = 0;
  uint64_t response_body_bytes = 0;
  bool request_body_exact = true;
  bool response_body_exact = true;
  bool connected = true; // false: there was no connection, and nothing was sent
  Endpoint local;
  Endpoint peer;
  // TCP stream positions where the request began, known to both ends (the hop key); valid when
  // hop_key is true.
  bool hop_key = false;
  uint32_t receive_position = 0;
  uint32_t send_position = 0;
  // Client: how often this was sent before, after a redirect or on a connection that broke.
  uint32_t resend_count = 0;
  std::string location; // client: where a redirect leads, as on the wire
  std::string error;    // for people: the panic's message, "connection reset", …
};

} // namespace agent::event
