#include "agent/event/body_reader.h"

#include <algorithm>

namespace agent::event {
namespace {

constexpr uint8_t kChunkSizeDigitsMax = 15;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

} // namespace

BodyReader::BodyReader(Framing framing, uint64_t content_length)
    : framing_(framing), complete_(framing == Framing::kNone),
      remaining_(framing == Framing::kLength ? content_length : 0) {}

size_t BodyReader::see(std::string_view bytes) {
  if (complete_) return 0;
  if (framing_ != Framing::kChunked || lost_) return skip(bytes.size());
  const size_t taken = see_chunked(bytes);
  wire_bytes_ += taken;
  return taken;
}

uint64_t BodyReader::skip(uint64_t bytes) {
  if (complete_) return 0;
  uint64_t taken = bytes;
  if (framing_ == Framing::kLength) {
    taken = std::min(bytes, remaining_);
    remaining_ -= taken;
    complete_ = remaining_ == 0;
    payload_bytes_ += taken;
  } else if (framing_ == Framing::kChunked && !lost_) {
    const uint64_t data = state_ == ChunkState::kData ? std::min(bytes, remaining_) : 0;
    remaining_ -= data;
    payload_bytes_ += data;
    if (state_ == ChunkState::kData && remaining_ == 0) state_ = ChunkState::kDataEnd;
    lost_ = data < bytes;
  } else {
    payload_bytes_ += taken;
  }
  wire_bytes_ += taken;
  return taken;
}

size_t BodyReader::see_chunked(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size() && !complete_ && !lost_) {
    if (state_ != ChunkState::kData) {
      see_control(bytes[at++]);
      continue;
    }
    const auto data = std::min<uint64_t>(bytes.size() - at, remaining_);
    at += data;
    remaining_ -= data;
    payload_bytes_ += data;
    if (remaining_ == 0) state_ = ChunkState::kDataEnd;
  }
  return lost_ ? bytes.size() : at;
}

// One byte of the framing. Line ends may lack their CR, as Go allows.
void BodyReader::see_control(char c) {
  switch (state_) {
  case ChunkState::kSize:
    if (c == '\n') {
      end_size_line();
    } else if (const int value = hex_digit(c); value >= 0 && size_digits_ < kChunkSizeDigitsMax) {
      remaining_ = remaining_ * 16 + static_cast<uint64_t>(value);
      ++size_digits_;
    } else if (c == ';' || c == ' ' || c == '\t' || c == '\r') {
      state_ = ChunkState::kExtension;
    } else {
      lost_ = true;
    }
    break;
  case ChunkState::kExtension:
    if (c == '\n') end_size_line();
    break;
  case ChunkState::kDataEnd:
    if (c == '\n') {
      state_ = ChunkState::kSize;
      size_digits_ = 0;
      remaining_ = 0;
    } else if (c != '\r') {
      lost_ = true;
    }
    break;
  case ChunkState::kTrailer:
    if (c == '\n') {
      complete_ = line_is_empty_;
      line_is_empty_ = true;
    } else if (c != '\r') {
      line_is_empty_ = false;
    }
    break;
  case ChunkState::kData:
    break;
  }
}

void BodyReader::end_size_line() {
  if (size_digits_ == 0)
    lost_ = true;
  else
    state_ = remaining_ > 0 ? ChunkState::kData : ChunkState::kTrailer;
}

bool BodyReader::looks_ended(std::string_view tail) const {
  constexpr std::string_view kLastChunk = "0\r\n\r\n";
  return lost_ && framing_ == Framing::kChunked &&
         (tail == kLastChunk || tail.ends_with("\r\n0\r\n\r\n"));
}

void BodyReader::close() {
  if (framing_ == Framing::kUntilClose || framing_ == Framing::kTunnel) complete_ = true;
}

} // namespace agent::event
