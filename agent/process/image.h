// An ELF executable as the kernel would map it: every address and length in it is a claim of a
// stranger, so each read is checked and comes back empty when the file does not hold it. A view:
// the bytes must outlive it.
#pragma once

#include "agent/process/binary_info.h"
#include "base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace agent::process {

using Bytes = std::span<const uint8_t>;

// What a file says about itself that is not true or not there.
base::Error malformed(std::string message);   // BINARY_MALFORMED
base::Error unsupported(std::string message); // BINARY_UNSUPPORTED
base::Error not_go(std::string message);      // NOT_A_GO_PROGRAM

class Image {
 public:
  // NOT_A_GO_PROGRAM when it is no 64-bit little-endian ELF executable for amd64 or arm64;
  // BINARY_MALFORMED when its headers contradict its size.
  static base::Result<Image> parse(Bytes file);

  Architecture architecture() const { return architecture_; }
  bool position_independent() const { return position_independent_; }
  bool has_interpreter() const { return has_interpreter_; }
  const std::vector<LoadSegment>& segments() const { return segments_; }
  Bytes file() const { return file_; }

  // Exactly `size` bytes at `address`, or nothing.
  std::optional<Bytes> read(uint64_t address, uint64_t size) const;
  // From `address` to the end of what the file holds of its segment; empty when unmapped.
  Bytes read_to_end(uint64_t address) const;
  std::optional<uint8_t> u8(uint64_t address) const;
  std::optional<uint16_t> u16(uint64_t address) const;
  std::optional<uint32_t> u32(uint64_t address) const;
  std::optional<uint64_t> u64(uint64_t address) const;
  // A pointer, with its relocation where the file's content is left zero (some linkers do that in
  // PIE).
  std::optional<uint64_t> pointer(uint64_t address) const;
  std::optional<uint64_t> file_offset(uint64_t address) const;
  // The addresses of pointers that hold `target`, in the writable or relocated part: at most
  // `limit`.
  std::vector<uint64_t> pointers_to(uint64_t target, size_t limit) const;

  struct Section {
    std::string_view name;
    uint64_t address = 0;
    Bytes content; // empty for .bss
    bool compressed = false;
  };
  // nullptr when absent; section headers may be gone, and their claims are as good as any.
  const Section* section(std::string_view name) const;
  const std::vector<Section>& sections() const { return sections_; }

 private:
  struct Relocation {
    uint64_t address;
    uint64_t addend;
  };

  base::Result<void> read_program_headers();
  void read_section_headers();
  void read_relocations(uint64_t dynamic_address, uint64_t dynamic_bytes);
  std::optional<uint64_t> relocated(uint64_t address) const;
  std::optional<Relocation> relocation(uint64_t index) const;
  const LoadSegment* segment_of(uint64_t address) const;

  Bytes file_;
  Architecture architecture_ = Architecture::kAmd64;
  bool position_independent_ = false;
  bool has_interpreter_ = false;
  std::vector<LoadSegment> segments_;
  std::vector<Section> sections_;
  Bytes relocations_; // Elf64_Rela[], by address, unless sorted_relocations_ says the order
  std::vector<uint32_t> relocation_order_;
};

// Little-endian integers at the start of `bytes`, which must be long enough.
uint16_t load_u16(const uint8_t* bytes);
uint32_t load_u32(const uint8_t* bytes);
uint64_t load_u64(const uint8_t* bytes);

// [offset, offset + size) of `bytes`, or nothing.
std::optional<Bytes> slice(Bytes bytes, uint64_t offset, uint64_t size);
// The text up to a zero byte, which must come within kNameBytesMax.
std::optional<std::string_view> zero_terminated(Bytes bytes);
// Unsigned LEB128 of at most 32 bits, as Go writes lengths and table deltas; advances `bytes`.
std::optional<uint32_t> take_varint(Bytes& bytes);

} // namespace agent::process
