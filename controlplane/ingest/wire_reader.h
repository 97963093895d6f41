// Reads protobuf fields one after another, as views.
// https://protobuf.dev/programming-guides/encoding/
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace controlplane::ingest {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  // Moves to the next field; false at the end and at what is no field: ok() tells which.
  bool next() {
    if (at_ == end_ || !ok_) return false;
    uint64_t tag = 0;
    if (!read_varint(tag, kShortVarintBytesMax) || tag > UINT32_MAX || tag >> 3 == 0) return fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<WireType>(tag & 7);
    switch (type_) {
    case WireType::kVarint:
      return read_varint(number_, kVarintBytesMax) || fail();
    case WireType::kFixed64:
      return read_fixed(8) || fail();
    case WireType::kFixed32:
      return read_fixed(4) || fail();
    case WireType::kBytes: {
      uint64_t size = 0;
      if (!read_varint(size, kShortVarintBytesMax) || size > static_cast<uint64_t>(end_ - at_))
        return fail();
      bytes_ = {at_, static_cast<size_t>(size)};
      at_ += size;
      return true;
    }
    }
    return fail(); // groups are gone since proto3
  }
  bool ok() const { return ok_; }

  uint32_t field() const { return field_; }
  // Whether the field is this one, of this type.
  bool is(uint32_t field, WireType type) const { return field_ == field && type_ == type; }
  uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }

 private:
  bool fail() {
    ok_ = false;
    return false;
  }
  // protobuf reads tags and sizes of at most five bytes, and so must we: what we pass on is read
  // again.
  static constexpr int kShortVarintBytesMax = 5;
  static constexpr int kVarintBytesMax = 10;

  bool read_varint(uint64_t& value, int bytes_max) {
    value = 0;
    for (int shift = 0; shift < 7 * bytes_max && at_ != end_; shift += 7) {
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool read_fixed(size_t size) {
    if (static_cast<size_t>(end_ - at_) < size) return false;
    number_ = 0;
    std::memcpy(&number_, at_, size); // little-endian, like the wire
    at_ += size;
    return true;
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  WireType type_ = WireType::kVarint;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

} // namespace controlplane::ingest
