// Records of the ring as values: bytes from the kernel side come in, and nothing unchecked goes on.
#pragma once

#include "bpf/include/records.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

namespace agent::event {

// Bytes that one call moved over a socket. The views point into the record.
struct Chunk {
  uint64_t time_ns = 0; // CLOCK_BOOTTIME, as all times here
  uint64_t socket_id = 0;
  uint32_t tgid = 0;
  bool received = false; // else sent
  uint16_t flags = 0;    // enum chunk_flags
  uint64_t stream_offset = 0;
  uint64_t other_offset = 0;
  uint32_t length = 0;
  int error = 0;
  std::string_view beginning; // the first bytes
  std::string_view tail;      // the last ones, when the middle was left out
  exchange_start start{};     // with CHUNK_START

  bool has(chunk_flags flag) const { return (flags & flag) != 0; }
};

struct SocketState {
  uint64_t time_ns = 0;
  uint64_t socket_id = 0;
  uint32_t tgid = 0;
  bool process_exiting = false;
  int old_state = 0; // TCP_* of the kernel
  int new_state = 0;
  int error = 0;
};

struct Panic {
  uint64_t time_ns = 0;
  uint32_t tgid = 0;
  uint64_t goid = 0;
  std::string_view message; // empty: not known
  uint64_t message_at = 0; // where its string header lies when the kernel could not read it, else 0
  uint64_t unread_type = 0; // when that of the value at `unread_value` could not be read, else 0
  uint64_t unread_value = 0;
};

struct CallError {
  uint64_t time_ns = 0;
  uint32_t tgid = 0;
  uint64_t goid = 0;
  bool timed_out = false;
  std::string_view message;
  uint64_t message_at = 0;
  std::optional<unread_error> unread =
      std::nullopt; // what the error is, is still to be read (unread.h)
};

// A call that failed before it had a connection.
struct DialError {
  uint64_t time_ns = 0;
  uint32_t tgid = 0;
  uint64_t call_ns = 0; // when it began
  uint64_t goid = 0;
  uint64_t parent_goid = 0;
  uint64_t randomness = 0;
  uint64_t threshold = 0;
  dial_cause cause = DIAL_OTHER;
  int error = 0;           // errno, with DIAL_ERRNO
  std::string_view method; // empty: GET
  std::string_view host;
  std::string_view path;
  bool path_is_escaped = false;
  std::string_view query;
  std::string_view message;
  uint64_t message_at = 0;
  std::optional<unread_error> unread = std::nullopt;
};

using Record = std::variant<Chunk, SocketState, Panic, CallError, DialError>;

// Nothing when the bytes are not a record. Pure; the result points into `bytes`.
std::optional<Record> decode(std::span<const std::byte> bytes);

} // namespace agent::event
