#include "agent/telemetry/http_span.h"

#include "agent/telemetry/limits.h"
#include "agent/telemetry/redact.h"
#include "agent/telemetry/wire.h"

#include <arpa/inet.h>

#include <algorithm>

namespace agent::telemetry {
namespace {

using event::HttpExchange;
using event::Outcome;
using event::Side;
using wire::Cursor;

// Field numbers of opentelemetry.proto.trace.v1.Span and Status.
enum SpanField : uint32_t {
  kTraceId = 1,
  kSpanId = 2,
  kParentSpanId = 4,
  kName = 5,
  kKind = 6,
  kStart = 7,
  kEnd = 8,
  kAttributes = 9,
  kStatus = 15,
  kFlags = 16,
};
constexpr uint32_t kStatusMessage = 2, kStatusCode = 3, kStatusError = 2;
constexpr uint32_t kKindServer = 2, kKindClient = 3;
constexpr uint32_t kFlagHasRemote = 0x100, kFlagIsRemote = 0x200, kFlagSampled = 1;

// Every text is cut to kAttributeBytesMax, and no span has more texts than this.
constexpr size_t kTextsMax = 12;
constexpr size_t kFixedBytesMax = 2048;
constexpr size_t kBufferBytes = kTextsMax * kAttributeBytesMax + kFixedBytesMax;

std::string_view cut(std::string_view text, size_t size_max = kAttributeBytesMax) {
  return text.substr(0, size_max);
}

// Attributes whose value came from the wire: cut, and made text.
class Attributes {
 public:
  explicit Attributes(Cursor& out) : out_(out) {}
  void known(std::string_view key, std::string_view value) {
    out_.attribute(kAttributes, key, value);
  }
  void text(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    value = cut(value);
    out_.attribute(kAttributes, key, value);
    make_text(out_.at() - value.size(), value.size());
  }
  void number(std::string_view key, uint64_t value) { out_.attribute(kAttributes, key, value); }

 private:
  Cursor& out_;
};

struct AddressText {
  std::array<char, INET6_ADDRSTRLEN> text;
  size_t size = 0;
  std::string_view view() const { return {text.data(), size}; }
};

AddressText format_address(const event::Endpoint& endpoint) {
  AddressText result;
  if (endpoint.address_bytes == 4) {
    char* at = result.text.data();
    for (int i = 0; i < 4; ++i) {
      const uint8_t part = endpoint.address[i];
      if (part >= 100) *at++ = static_cast<char>('0' + part / 100);
      if (part >= 10) *at++ = static_cast<char>('0' + part / 10 % 10);
      *at++ = static_cast<char>('0' + part % 10);
      if (i < 3) *at++ = '.';
    }
    result.size = at - result.text.data();
  } else if (endpoint.address_bytes == 16) {
    if (inet_ntop(AF_INET6, endpoint.address.data(), result.text.data(), result.text.size()))
      result.size = std::string_view(result.text.data()).size();
  }
  return result;
}

bool is_zero(const std::array<uint8_t, 8>& id) {
  return std::all_of(id.begin(), id.end(), [](uint8_t b) { return b == 0; });
}

// What is an error of the exchange whatever its status says.
std::string_view outcome_error(const HttpExchange& exchange) {
  switch (exchange.outcome) {
  case Outcome::kComplete:
    return exchange.status == 0 ? "_OTHER" : "";
  case Outcome::kPanic:
    return "panic";
  case Outcome::kAbort:
    return "aborted";
  case Outcome::kHijack:
    return "hijacked";
  case Outcome::kDisconnect:
    return "disconnected";
  case Outcome::kTimeout:
    return "timeout";
  case Outcome::kRefused:
    return "connection_refused";
  case Outcome::kUnresolved:
    return "name_not_resolved";
  case Outcome::kUnreached:
    return "connection_failed";
  case Outcome::kReset:
    return "connection_reset";
  case Outcome::kCancel:
    return ""; // its own wish: not an error
  }
  return "_OTHER";
}

std::string_view outcome_sentence(Outcome outcome) {
  switch (outcome) {
  case Outcome::kPanic:
    return "the handler panicked";
  case Outcome::kAbort:
    return "the handler aborted the request";
  case Outcome::kHijack:
    return "the handler took the connection over without an answer";
  case Outcome::kDisconnect:
    return "the peer closed the connection first";
  case Outcome::kTimeout:
    return "the deadline passed before an answer";
  case Outcome::kRefused:
    return "the server refused the connection";
  case Outcome::kUnresolved:
    return "the server's name did not resolve";
  case Outcome::kUnreached:
    return "no connection";
  case Outcome::kReset:
    return "the connection broke before the whole answer";
  case Outcome::kComplete:
  case Outcome::kCancel:
    return "";
  }
  return "";
}

void write_status(const HttpExchange& exchange, Cursor& out) {
  std::string_view message = cut(exchange.error, kStatusMessageBytesMax);
  if (message.empty()) message = outcome_sentence(exchange.outcome);
  size_t size = 2; // the code
  if (!message.empty()) size += wire::field_size(message.size());
  out.varint(wire::tag(kStatus, wire::kBytes));
  out.varint(size);
  if (!message.empty()) {
    out.text(kStatusMessage, message);
    make_text(out.at() - message.size(), message.size());
  }
  out.number(kStatusCode, kStatusError);
}

void write_peer(const HttpExchange& exchange, Attributes& attributes) {
  const AddressText peer = format_address(exchange.peer);
  if (peer.size == 0) return;
  attributes.known("network.peer.address", peer.view());
  attributes.number("network.peer.port", exchange.peer.port);
  if (exchange.side == Side::kServer) attributes.known("client.address", peer.view());
}

bool is_https(std::string_view scheme) {
  constexpr std::string_view kHttps = "https";
  return std::equal(scheme.begin(), scheme.end(), kHttps.begin(), kHttps.end(), [](char a, char b) {
    return (a | 0x20) == b;
  });
}

// Of the resource. A target in absolute form is stronger than the connection, and than the Host
// header: both may be a proxy's.
std::string_view scheme_of(const Target& target) {
  return is_https(target.scheme) ? "https" : "http";
}

// From the target or the Host header; what neither names is known from the socket.
void write_server_address(
    const HttpExchange& exchange, const Target& target, Attributes& attributes) {
  const HostPort named = split_host(target.authority.empty() ? exchange.host : target.authority);
  const event::Endpoint& server = exchange.side == Side::kServer ? exchange.local : exchange.peer;
  if (!named.host.empty())
    attributes.text("server.address", named.host);
  else
    attributes.text("server.address", format_address(server).view());
  // Required for clients, where the scheme's own port stands for one that was not named.
  if (named.port != 0)
    attributes.number("server.port", named.port);
  else if (named.host.empty() && server.port != 0)
    attributes.number("server.port", server.port);
  else if (exchange.side == Side::kClient)
    attributes.number("server.port", is_https(target.scheme) ? 443 : 80);
}

void write_identity(const HttpExchange& exchange, Cursor& out) {
  out.bytes(kTraceId, exchange.trace_id.data(), exchange.trace_id.size());
  out.bytes(kSpanId, exchange.span_id.data(), exchange.span_id.size());
  const bool root = is_zero(exchange.parent_span_id);
  if (!root)
    out.bytes(kParentSpanId, exchange.parent_span_id.data(), exchange.parent_span_id.size());
  out.fixed32(
      kFlags, exchange.trace_flags | kFlagSampled | (root ? 0 : kFlagHasRemote) |
                  (!root && exchange.parent_is_remote ? kFlagIsRemote : 0));
}

} // namespace

Target split_target(std::string_view method, std::string_view target) {
  Target result;
  if (method == "CONNECT") {
    result.authority = target;
    return result;
  }
  if (!target.starts_with('/')) {
    const size_t scheme = target.find("://");
    if (scheme < 16) { // npos is greater
      result.scheme = target.substr(0, scheme);
      target.remove_prefix(scheme + 3);
      const size_t end = std::min(target.find_first_of("/?"), target.size());
      result.authority = target.substr(0, end);
      target.remove_prefix(end);
    }
  }
  const size_t question = target.find('?');
  result.path = target.substr(0, question);
  if (question != std::string_view::npos) result.query = target.substr(question + 1);
  if (result.path.empty()) result.path = "/";
  return result;
}

HostPort split_host(std::string_view authority) {
  const size_t at = authority.rfind('@');
  if (at != std::string_view::npos) authority.remove_prefix(at + 1);
  HostPort result;
  size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return result;
    result.host = authority.substr(1, bracket - 1);
    colon = bracket + 1 < authority.size() && authority[bracket + 1] == ':'
                ? bracket + 1
                : std::string_view::npos;
  } else {
    result.host = authority.substr(0, colon);
  }
  if (colon == std::string_view::npos) return result;
  uint32_t port = 0;
  for (const char c : authority.substr(colon + 1)) {
    if (c < '0' || c > '9' || port > 65535) return result;
    port = port * 10 + (c - '0');
  }
  if (port <= 65535) result.port = static_cast<uint16_t>(port);
  return result;
}

std::string_view known_method(std::string_view method) {
  static constexpr std::array<std::string_view, 10> kMethods = {
      "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "QUERY"};
  for (const std::string_view known : kMethods)
    if (method == known) return known;
  return "_OTHER";
}

std::string_view error_type(const HttpExchange& exchange, std::array<char, 4>& digits) {
  const std::string_view outcome = outcome_error(exchange);
  if (!outcome.empty()) return outcome;
  const int error_from = exchange.side == Side::kServer ? 500 : 400;
  if (exchange.status < error_from || exchange.status > 999) return {};
  digits[0] = static_cast<char>('0' + exchange.status / 100);
  digits[1] = static_cast<char>('0' + exchange.status / 10 % 10);
  digits[2] = static_cast<char>('0' + exchange.status % 10);
  return {digits.data(), 3};
}

HttpSpanEncoder::HttpSpanEncoder() : buffer_(new char[kBufferBytes]) {}

std::string_view HttpSpanEncoder::encode(const HttpExchange& exchange, int64_t wall_minus_boot_ns) {
  Cursor out(buffer_.get());
  Attributes attributes(out);
  const bool server = exchange.side == Side::kServer;
  const std::string_view method = known_method(exchange.method);
  const bool other_method = method == "_OTHER";
  const Target target = split_target(exchange.method, exchange.target);

  write_identity(exchange, out);
  out.text(kName, other_method ? "HTTP" : method);
  out.number(kKind, server ? kKindServer : kKindClient);
  out.fixed64(kStart, exchange.start_ns + wall_minus_boot_ns);
  out.fixed64(kEnd, std::max(exchange.end_ns, exchange.start_ns) + wall_minus_boot_ns);

  attributes.known("http.request.method", method);
  if (other_method) attributes.text("http.request.method_original", exchange.method);
  if (!target.query.empty()) redact_query(target.query, kAttributeBytesMax, query_);
  if (server) {
    attributes.known("url.scheme", scheme_of(target));
    if (target.path.empty())
      attributes.known("url.path", ""); // of CONNECT; the attribute is required
    else
      attributes.text("url.path", target.path);
    if (!target.query.empty()) attributes.text("url.query", query_);
  } else {
    const std::string_view authority =
        target.authority.empty() ? std::string_view(exchange.host) : target.authority;
    const size_t userinfo = authority.rfind('@');
    url_.assign(scheme_of(target)).append("://");
    if (userinfo != std::string_view::npos) url_.append("REDACTED:REDACTED@");
    url_.append(userinfo == std::string_view::npos ? authority : authority.substr(userinfo + 1));
    if (target.path != "*") url_.append(target.path); // that is the server, not a path
    if (!target.query.empty()) url_.append(1, '?').append(query_);
    attributes.text("url.full", url_);
    if (exchange.resend_count != 0)
      attributes.number("http.request.resend_count", exchange.resend_count);
  }
  write_server_address(exchange, target, attributes);
  write_peer(exchange, attributes);
  if (exchange.connected)
    attributes.known("network.protocol.version", exchange.version_minor == 0 ? "1.0" : "1.1");
  attributes.text("user_agent.original", exchange.user_agent);
  if (exchange.status > 0) attributes.number("http.response.status_code", exchange.status);
  if (exchange.request_body_bytes != 0 && exchange.request_body_exact)
    attributes.number("http.request.body.size", exchange.request_body_bytes);
  if (exchange.status > 0 && exchange.response_body_exact)
    attributes.number("http.response.body.size", exchange.response_body_bytes);
  // Where the bytes came from: socket time starts at the first byte, function time at the call.
  attributes.known("sonde.capture", server ? "socket" : "function");

  // No error by the conventions, and without this nothing would tell it from an answer.
  if (exchange.outcome == Outcome::kCancel) attributes.known("sonde.outcome", "canceled");
  std::array<char, 4> digits;
  const std::string_view error = error_type(exchange, digits);
  if (!error.empty()) {
    attributes.known("error.type", error);
    write_status(exchange, out);
  }
  return {buffer_.get(), static_cast<size_t>(out.at() - buffer_.get())};
}

} // namespace agent::telemetry
