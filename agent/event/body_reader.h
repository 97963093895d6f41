// Finds the end of a message body in a stream of which not every byte was copied.
#pragma once

#include "agent/event/http_head.h"

#include <cstdint>
#include <string_view>

namespace agent::event {

class BodyReader {
 public:
  BodyReader() = default;
  BodyReader(Framing framing, uint64_t content_length);

  // Takes bytes as long as they belong to the body; how many did.
  size_t see(std::string_view bytes);
  // The same of bytes that are known by their number alone.
  uint64_t skip(uint64_t bytes);
  // Called with the last bytes of a chunk, when all before is accounted for: where chunk ends were
  // not seen, a body is believed to end with the last chunk's bytes. True when these look like it.
  bool looks_ended(std::string_view tail) const;

  bool complete() const { return complete_; }
  // The chunk framing was lost from sight: the end cannot be known from the bytes.
  bool lost() const { return lost_; }
  Framing framing() const { return framing_; }
  // The connection was closed, which ends a body without a length.
  void close();
  // Without chunk framing when exact, else all bytes behind the head.
  uint64_t bytes() const { return exact() ? payload_bytes_ : wire_bytes_; }
  bool exact() const { return !lost_; }

 private:
  enum class ChunkState : uint8_t { kSize, kExtension, kData, kDataEnd, kTrailer };

  size_t see_chunked(std::string_view bytes);
  void see_control(char c);
  void end_size_line();

  Framing framing_ = Framing::kNone;
  bool complete_ = true;
  bool lost_ = false;
  ChunkState state_ = ChunkState::kSize;
  bool line_is_empty_ = true; // of the trailer
  uint8_t size_digits_ = 0;
  uint64_t remaining_ = 0; // of the body, or of the chunk
  uint64_t payload_bytes_ = 0;
  uint64_t wire_bytes_ = 0;
};

} // namespace agent::event
