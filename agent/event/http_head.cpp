#include "agent/event/http_head.h"

#include <array>
#include <cstring>
#include <functional>

namespace agent::event {
namespace {

constexpr std::string_view kVersion = "HTTP/1.";

// RFC 9110, section 5.6.2.
constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = true;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] = true;
  return table;
}
constexpr auto kToken = make_token_table();

bool is_token(std::string_view text) {
  for (char c : text)
    if (!kToken[static_cast<uint8_t>(c)]) return false;
  return !text.empty();
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// `name` is in lower case.
bool equals(std::string_view text, std::string_view name) {
  if (text.size() != name.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (lower(text[i]) != name[i]) return false;
  return true;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes a line off `rest`, without its line end; false when there is no whole line. Go takes a bare
// LF too.
bool take_line(std::string_view& rest, std::string_view& line) {
  const void* end = std::memchr(rest.data(), '\n', rest.size());
  if (!end) return false;
  const size_t size = static_cast<size_t>(static_cast<const char*>(end) - rest.data());
  line = rest.substr(0, size);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  rest.remove_prefix(size + 1);
  return true;
}

bool parse_version(std::string_view text, uint8_t& minor) {
  if (text.size() != kVersion.size() + 1 || !text.starts_with(kVersion)) return false;
  if (text.back() != '0' && text.back() != '1') return false;
  minor = static_cast<uint8_t>(text.back() - '0');
  return true;
}

bool parse_length(std::string_view text, uint64_t& length) {
  if (text.empty() || text.size() > 18) return false;
  length = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  return true;
}

bool parse_request_line(std::string_view line, RequestHead& head) {
  const size_t space = line.find(' ');
  const size_t last = line.rfind(' ');
  if (space == std::string_view::npos || last == space) return false;
  head.method = line.substr(0, space);
  head.target = line.substr(space + 1, last - space - 1);
  if (!is_token(head.method) || head.target.empty()) return false;
  for (char c : head.target)
    if (static_cast<uint8_t>(c) <= ' ' || c == 0x7f) return false;
  return parse_version(line.substr(last + 1), head.version_minor);
}

// What both kinds of heads say about their body.
struct BodyFields {
  bool has_length = false;
  bool is_chunked = false;
  bool is_broken = false; // two lengths, or an encoding nobody knows
  uint64_t length = 0;
};

void use_content_length(std::string_view value, BodyFields& body) {
  uint64_t length = 0;
  if (!parse_length(value, length) || (body.has_length && body.length != length)) {
    body.is_broken = true;
    return;
  }
  body.has_length = true;
  body.length = length;
}

void use_transfer_encoding(std::string_view value, BodyFields& body) {
  if (equals(value, "chunked"))
    body.is_chunked = true;
  else if (!equals(value, "identity"))
    body.is_broken = true;
}

// Walks over the fields; kComplete when the empty line was reached.
template <class OnField> ParseResult parse_fields(std::string_view& rest, OnField on_field) {
  std::string_view line;
  bool is_first = true;
  while (take_line(rest, line)) {
    if (line.empty()) return ParseResult::kComplete;
    if (line.front() == ' ' || line.front() == '\t') { // a folded value: none of those we read
      if (is_first) return ParseResult::kMalformed;
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
      return ParseResult::kMalformed;
    on_field(line.substr(0, colon), line.substr(colon + 1));
    is_first = false;
  }
  return ParseResult::kIncomplete;
}

struct RequestFields {
  RequestHead& head;
  BodyFields body;
  int traceparents = 0;
  size_t tracestates = 0;

  void operator()(std::string_view name, std::string_view value) {
    switch (name.size()) {
    case 4:
      if (head.host.empty() && equals(name, "host")) head.host = trim(value);
      break;
    case 10:
      if (head.user_agent.empty() && equals(name, "user-agent"))
        head.user_agent = trim(value);
      else if (tracestates < head.tracestate.size() && equals(name, "tracestate"))
        head.tracestate[tracestates++] = trim(value);
      break;
    case 11:
      if (equals(name, "traceparent")) {
        head.traceparent = trim(value);
        ++traceparents;
      }
      break;
    case 14:
      if (equals(name, "content-length")) use_content_length(trim(value), body);
      break;
    case 17:
      if (equals(name, "transfer-encoding")) use_transfer_encoding(trim(value), body);
      break;
    default:
      break;
    }
  }
};

struct ResponseFields {
  ResponseHead& head;
  BodyFields body;

  void operator()(std::string_view name, std::string_view value) {
    if (name.size() == 14 && equals(name, "content-length"))
      use_content_length(trim(value), body);
    else if (name.size() == 17 && equals(name, "transfer-encoding"))
      use_transfer_encoding(trim(value), body);
    else if (name.size() == 8 && equals(name, "location"))
      head.location = trim(value);
  }
};

} // namespace

ParseResult parse_request_head(std::string_view bytes, RequestHead& head) {
  head = RequestHead{};
  std::string_view rest = bytes, line;
  if (!take_line(rest, line)) return ParseResult::kIncomplete;
  if (!parse_request_line(line, head)) return ParseResult::kMalformed;
  RequestFields fields{head, {}};
  if (auto result = parse_fields(rest, std::ref(fields)); result != ParseResult::kComplete)
    return result;
  head.bytes = bytes.size() - rest.size();
  if (fields.traceparents > 1) head.traceparent = {};
  // A server that meets a broken length answers 400 and closes: nothing behind the head is a
  // message.
  if (fields.body.is_chunked && !fields.body.is_broken) {
    head.framing = Framing::kChunked;
  } else if (fields.body.has_length && !fields.body.is_broken && fields.body.length > 0) {
    head.framing = Framing::kLength;
    head.content_length = fields.body.length;
  } else if (fields.body.is_broken) {
    head.framing = Framing::kUntilClose;
  }
  return ParseResult::kComplete;
}

bool parse_status_line(std::string_view bytes, ResponseHead& head) {
  // "HTTP/1.1 200" and then a space, or the end of the line.
  constexpr size_t kStatusAt = 9;
  if (bytes.size() < kStatusAt + 3 || !parse_version(bytes.substr(0, 8), head.version_minor) ||
      bytes[8] != ' ')
    return false;
  int status = 0;
  for (size_t i = kStatusAt; i < kStatusAt + 3; ++i) {
    if (bytes[i] < '0' || bytes[i] > '9') return false;
    status = status * 10 + (bytes[i] - '0');
  }
  if (bytes.size() > kStatusAt + 3 && bytes[kStatusAt + 3] != ' ' && bytes[kStatusAt + 3] != '\r' &&
      bytes[kStatusAt + 3] != '\n')
    return false;
  head.status = status;
  return status >= 100;
}

ParseResult parse_response_head(std::string_view bytes, ResponseHead& head) {
  head = ResponseHead{};
  std::string_view rest = bytes, line;
  if (!take_line(rest, line)) return ParseResult::kIncomplete;
  if (!parse_status_line(line, head)) return ParseResult::kMalformed;
  ResponseFields fields{head, {}};
  if (auto result = parse_fields(rest, std::ref(fields)); result != ParseResult::kComplete)
    return result;
  head.bytes = bytes.size() - rest.size();
  head.is_chunked = fields.body.is_chunked && !fields.body.is_broken;
  head.has_length = fields.body.has_length && !fields.body.is_broken && !head.is_chunked;
  head.content_length = fields.body.length;
  return ParseResult::kComplete;
}

Framing framing_of(const ResponseHead& head, std::string_view method) {
  if (head.status == 101) return Framing::kTunnel;
  if (method == "CONNECT" && head.status >= 200 && head.status < 300) return Framing::kTunnel;
  if (method == "HEAD" || head.status == 204 || head.status == 304) return Framing::kNone;
  if (head.is_chunked) return Framing::kChunked;
  if (!head.has_length) return Framing::kUntilClose;
  return head.content_length > 0 ? Framing::kLength : Framing::kNone;
}

} // namespace agent::event
