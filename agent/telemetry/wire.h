// A protobuf wire writer for the few shapes of OTLP that a span needs: straight into bytes, no
// message objects. https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace agent::telemetry::wire {

enum Type : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t tag(uint32_t field, Type type) { return field << 3 | type; }

constexpr size_t varint_size(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
}

// Size of a length-delimited field with a one-byte tag.
constexpr size_t field_size(size_t length) { return 1 + varint_size(length) + length; }

// Writes forward; the caller made sure that there is room.
class Cursor {
 public:
  explicit Cursor(char* at) : at_(at) {}
  char* at() const { return at_; }

  void byte(uint32_t value) { *at_++ = static_cast<char>(value); }
  void varint(uint64_t value) {
    while (value >= 0x80) {
      byte(static_cast<uint32_t>(value) | 0x80);
      value >>= 7;
    }
    byte(static_cast<uint32_t>(value));
  }
  void raw(const void* data, size_t size) {
    std::memcpy(at_, data, size);
    at_ += size;
  }
  void bytes(uint32_t field, const void* data, size_t size) {
    varint(tag(field, kBytes));
    varint(size);
    raw(data, size);
  }
  void text(uint32_t field, std::string_view value) { bytes(field, value.data(), value.size()); }
  void number(uint32_t field, uint64_t value) {
    varint(tag(field, kVarint));
    varint(value);
  }
  void fixed64(uint32_t field, uint64_t value) {
    varint(tag(field, kFixed64));
    raw(&value, sizeof(value)); // little-endian, like the wire
  }
  void fixed32(uint32_t field, uint32_t value) {
    varint(tag(field, kFixed32));
    raw(&value, sizeof(value));
  }

  // KeyValue{key, AnyValue{string_value}} as `field` of the message around it.
  void attribute(uint32_t field, std::string_view key, std::string_view value) {
    const size_t any = field_size(value.size());
    open_attribute(field, key, any);
    text(1, value);
  }
  // KeyValue{key, AnyValue{int_value}}.
  void attribute(uint32_t field, std::string_view key, uint64_t value) {
    open_attribute(field, key, 1 + varint_size(value));
    number(3, value);
  }

 private:
  void open_attribute(uint32_t field, std::string_view key, size_t any_size) {
    varint(tag(field, kBytes));
    varint(field_size(key.size()) + field_size(any_size));
    text(1, key);
    byte(tag(2, kBytes));
    varint(any_size);
  }

  char* at_;
};

} // namespace agent::telemetry::wire
