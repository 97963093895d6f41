#include "agent/event/record.h"

#include <algorithm>
#include <cstring>

namespace agent::event {
namespace {

using Bytes = std::span<const std::byte>;

template <class T> std::optional<T> read(Bytes bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::string_view view(Bytes bytes, size_t at, size_t size) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, size};
}

uint64_t unread_at(const record_header& header, const message& message) {
  return (header.flags & MESSAGE_NOT_RESIDENT) != 0 ? message.message_at : 0;
}

bool is_type_unread(const record_header& header) { return (header.flags & TYPE_NOT_RESIDENT) != 0; }

std::optional<unread_error> unread_of(const record_header& header, const unread_error& unread) {
  return is_type_unread(header) ? std::optional(unread) : std::nullopt;
}

bool is_consistent(const socket_address& address) {
  return address.family_bytes == 0 || address.family_bytes == 4 || address.family_bytes == 16;
}

std::optional<Record> decode_chunk(Bytes bytes) {
  auto raw = read<chunk_record>(bytes);
  if (!raw) return std::nullopt;
  const size_t seen = size_t{raw->captured_bytes} + raw->tail_bytes;
  if (seen > bytes.size() - sizeof(chunk_record) || seen > raw->length) return std::nullopt;

  Chunk chunk;
  chunk.time_ns = raw->header.time_ns;
  chunk.socket_id = raw->header.socket_id;
  chunk.tgid = raw->header.tgid;
  chunk.received = raw->header.kind == RECORD_RECEIVED;
  chunk.flags = raw->header.flags;
  chunk.stream_offset = raw->stream_offset;
  chunk.other_offset = raw->other_offset;
  chunk.length = raw->length;
  chunk.error = raw->error;
  chunk.beginning = view(bytes, sizeof(chunk_record), raw->captured_bytes);
  chunk.tail = view(bytes, sizeof(chunk_record) + raw->captured_bytes, raw->tail_bytes);
  if (!chunk.has(CHUNK_START)) return chunk;
  if (!is_consistent(raw->start.local) || !is_consistent(raw->start.peer)) return std::nullopt;
  chunk.start = raw->start;
  return chunk;
}

std::optional<Record> decode_socket_state(Bytes bytes) {
  auto raw = read<socket_state_record>(bytes);
  if (!raw) return std::nullopt;
  return SocketState{
      .time_ns = raw->header.time_ns,
      .socket_id = raw->header.socket_id,
      .tgid = raw->header.tgid,
      .process_exiting = (raw->header.flags & SOCKET_PROCESS_EXITING) != 0,
      .old_state = raw->old_state,
      .new_state = raw->new_state,
      .error = raw->error,
  };
}

std::optional<Record> decode_panic(Bytes bytes) {
  auto raw = read<panic_record>(bytes);
  if (!raw || raw->message.bytes > MESSAGE_BYTES_MAX) return std::nullopt;
  return Panic{
      .time_ns = raw->header.time_ns,
      .tgid = raw->header.tgid,
      .goid = raw->goid,
      .message = view(bytes, offsetof(panic_record, message.text), raw->message.bytes),
      .message_at = unread_at(raw->header, raw->message),
      .unread_type = is_type_unread(raw->header) ? raw->value_type : 0,
      .unread_value = raw->message.message_at,
  };
}

std::optional<Record> decode_call_error(Bytes bytes) {
  auto raw = read<call_error_record>(bytes);
  if (!raw || raw->message.bytes > MESSAGE_BYTES_MAX) return std::nullopt;
  return CallError{
      .time_ns = raw->header.time_ns,
      .tgid = raw->header.tgid,
      .goid = raw->goid,
      .timed_out = raw->timed_out != 0,
      .message = view(bytes, offsetof(call_error_record, message.text), raw->message.bytes),
      .message_at = unread_at(raw->header, raw->message),
      .unread = unread_of(raw->header, raw->unread),
  };
}

bool is_consistent(const dial_error_record& raw) {
  return raw.cause <= DIAL_TIMEOUT && raw.method_bytes <= DIAL_METHOD_BYTES_MAX &&
         raw.host_bytes <= DIAL_HOST_BYTES_MAX && raw.path_bytes <= DIAL_PATH_BYTES_MAX &&
         raw.query_bytes <= DIAL_QUERY_BYTES_MAX && raw.message.bytes <= MESSAGE_BYTES_MAX;
}

std::optional<Record> decode_dial_error(Bytes bytes) {
  auto raw = read<dial_error_record>(bytes);
  if (!raw || !is_consistent(*raw)) return std::nullopt;
  return DialError{
      .time_ns = raw->header.time_ns,
      .tgid = raw->header.tgid,
      .call_ns = raw->call_ns,
      .goid = raw->goid,
      .parent_goid = raw->parent_goid,
      .randomness = raw->randomness,
      .threshold = raw->threshold,
      .cause = static_cast<dial_cause>(raw->cause),
      .error = raw->error,
      .method = view(bytes, offsetof(dial_error_record, method), raw->method_bytes),
      .host = view(bytes, offsetof(dial_error_record, host), raw->host_bytes),
      .path = view(bytes, offsetof(dial_error_record, path), raw->path_bytes),
      .path_is_escaped = raw->path_is_escaped != 0,
      .query = view(bytes, offsetof(dial_error_record, query), raw->query_bytes),
      .message = view(bytes, offsetof(dial_error_record, message.text), raw->message.bytes),
      .message_at = unread_at(raw->header, raw->message),
      .unread = unread_of(raw->header, raw->unread),
  };
}

} // namespace

std::optional<Record> decode(Bytes bytes) {
  auto header = read<record_header>(bytes);
  if (!header) return std::nullopt;
  switch (header->kind) {
  case RECORD_RECEIVED:
  case RECORD_SENT:
    return decode_chunk(bytes);
  case RECORD_SOCKET_STATE:
    return decode_socket_state(bytes);
  case RECORD_PANIC:
    return decode_panic(bytes);
  case RECORD_CALL_ERROR:
    return decode_call_error(bytes);
  case RECORD_DIAL_ERROR:
    return decode_dial_error(bytes);
  default:
    return std::nullopt;
  }
}

} // namespace agent::event
