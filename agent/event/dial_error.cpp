#include "agent/event/dial_error.h"

#include "agent/event/limits.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace agent::event {
namespace {

// What net/url leaves as it is in a path: unreserved characters and those with a meaning there.
bool stands_in_path(char c) {
  constexpr std::string_view kMarks = "-_.~$&+,/:;=@";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kMarks.find(c) != std::string_view::npos;
}

void append_escaped(std::string_view path, std::string& out) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (const char c : path) {
    if (stands_in_path(c)) {
      out += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
}

// As the request line would have had it.
std::string target_of(const DialError& error) {
  std::string target;
  if (!error.path.starts_with('/')) target += '/';
  if (error.path_is_escaped)
    target += error.path;
  else
    append_escaped(error.path, target);
  if (!error.query.empty()) target.append(1, '?').append(error.query);
  target.resize(std::min(target.size(), kTargetBytesMax));
  return target;
}

Outcome outcome_of(const DialError& error) {
  switch (error.cause) {
  case DIAL_ERRNO:
    if (error.error == ECONNREFUSED) return Outcome::kRefused;
    return error.error == ETIMEDOUT ? Outcome::kTimeout : Outcome::kUnreached;
  case DIAL_NAME:
    return Outcome::kUnresolved;
  case DIAL_TIMEOUT:
    return Outcome::kTimeout;
  case DIAL_OTHER:
    break;
  }
  const bool canceled = error.message.find("canceled") != std::string_view::npos;
  return canceled ? Outcome::kCancel : Outcome::kUnreached;
}

std::string sentence_of(const DialError& error) {
  if (error.cause == DIAL_ERRNO)
    if (const char* words = strerrordesc_np(error.error)) return std::string("connect: ") + words;
  if (!error.message.empty()) return std::string(error.message);
  return error.cause == DIAL_TIMEOUT ? "the deadline passed before there was a connection" : "";
}

} // namespace

HttpExchange exchange_of(const DialError& error) {
  HttpExchange call;
  call.side = Side::kClient;
  call.outcome = outcome_of(error);
  call.pid = error.tgid;
  call.goid = error.goid;
  call.parent_goid = error.parent_goid;
  call.start_ns = error.call_ns;
  call.end_ns = std::max(error.call_ns, error.time_ns);
  call.randomness = error.randomness;
  call.threshold = error.threshold;
  call.connected = false;
  call.method = error.method.empty() ? "GET" : error.method.substr(0, kMethodBytesMax);
  call.target = target_of(error);
  call.host = error.host.substr(0, kHostBytesMax);
  call.error = sentence_of(error);
  return call;
}

} // namespace agent::event
