// Heads of HTTP/1 messages, parsed in place: no copies, one pass, and strict where a lie would make
// a wrong span.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace agent::event {

// How long the body of a message is.
enum class Framing : uint8_t {
  kNone,       // no body
  kLength,     // content_length bytes
  kChunked,    // chunks, the last one empty
  kUntilClose, // answers only: what comes until the connection is closed
  kTunnel,     // answers only: from here on it is another protocol (101, CONNECT)
};

enum class ParseResult : uint8_t { kComplete, kIncomplete, kMalformed };

// Views point into the parsed bytes.
struct RequestHead {
  size_t bytes = 0; // of the head, with the empty line that ends it
  std::string_view method;
  std::string_view target;
  uint8_t version_minor = 1;
  std::string_view host;
  std::string_view user_agent;
  std::string_view traceparent; // empty when there is none, or more than one
  std::array<std::string_view, 4> tracestate;
  Framing framing = Framing::kNone;
  uint64_t content_length = 0;
};

struct ResponseHead {
  size_t bytes = 0;
  int status = 0;
  uint8_t version_minor = 1;
  std::string_view location;
  // As the head says; a HEAD request or the status can overrule it (framing_of).
  bool has_length = false;
  bool is_chunked = false;
  uint64_t content_length = 0;
};

ParseResult parse_request_head(std::string_view bytes, RequestHead& head);
ParseResult parse_response_head(std::string_view bytes, ResponseHead& head);
// Only the first line; true when `bytes` begin with a status line, cut short behind it or not.
bool parse_status_line(std::string_view bytes, ResponseHead& head);
// What follows this answer to a request with `method`.
Framing framing_of(const ResponseHead& head, std::string_view method);

} // namespace agent::event
