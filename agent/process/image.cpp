#include "agent/process/image.h"

#include "agent/process/limits.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace agent::process {
namespace {

// A header at `offset` of the file, copied: the file guarantees no alignment.
template <class Header> std::optional<Header> header_at(Bytes file, uint64_t offset) {
  auto bytes = slice(file, offset, sizeof(Header));
  if (!bytes) return std::nullopt;
  Header header;
  std::memcpy(&header, bytes->data(), sizeof(Header));
  return header;
}

bool is_relative_relocation(uint64_t info) {
  uint64_t type = info & 0xffffffff;
  return type == R_X86_64_RELATIVE || type == R_AARCH64_RELATIVE;
}

} // namespace

base::Error malformed(std::string message) {
  return base::failed_precondition("BINARY_MALFORMED", std::move(message));
}

base::Error not_go(std::string message) {
  return base::failed_precondition("NOT_A_GO_PROGRAM", std::move(message));
}

base::Error unsupported(std::string message) {
  return base::failed_precondition("BINARY_UNSUPPORTED", std::move(message));
}

uint16_t load_u16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint32_t load_u32(const uint8_t* bytes) {
  uint32_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint64_t load_u64(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

std::optional<Bytes> slice(Bytes bytes, uint64_t offset, uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, size);
}

std::optional<std::string_view> zero_terminated(Bytes bytes) {
  Bytes window = bytes.first(std::min(bytes.size(), kNameBytesMax));
  const void* end = window.empty() ? nullptr : std::memchr(window.data(), 0, window.size());
  if (end == nullptr) return std::nullopt;
  return std::string_view(
      reinterpret_cast<const char*>(window.data()),
      static_cast<size_t>(static_cast<const uint8_t*>(end) - window.data()));
}

std::optional<uint32_t> take_varint(Bytes& bytes) {
  uint32_t value = 0;
  for (int shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    uint8_t byte = bytes.front();
    bytes = bytes.subspan(1);
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return std::nullopt;
}

base::Result<Image> Image::parse(Bytes file) {
  if (file.size() > kFileBytesMax) return unsupported("the file is larger than 4 GiB");
  auto header = header_at<Elf64_Ehdr>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
    return not_go("not an ELF file");
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
    return not_go("not a 64-bit little-endian ELF file");
  if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
    return not_go("an ELF file, but not an executable");
  if (header->e_machine != EM_X86_64 && header->e_machine != EM_AARCH64)
    return not_go("an executable for another machine than amd64 or arm64");
  Image image;
  image.file_ = file;
  image.architecture_ =
      header->e_machine == EM_X86_64 ? Architecture::kAmd64 : Architecture::kArm64;
  image.position_independent_ = header->e_type == ET_DYN;
  TRY(image.read_program_headers());
  image.read_section_headers();
  return image;
}

base::Result<void> Image::read_program_headers() {
  auto header = *header_at<Elf64_Ehdr>(file_, 0);
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return malformed("odd size of program headers");
  if (header.e_phnum > kSegmentsMax) return malformed("too many program headers");
  uint64_t dynamic_address = 0;
  uint64_t dynamic_bytes = 0;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    if (header.e_phoff > file_.size()) return malformed("program headers lie past the end");
    auto program = header_at<Elf64_Phdr>(file_, header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!program) return malformed("program headers lie past the end of the file");
    if (program->p_type == PT_INTERP) has_interpreter_ = true;
    if (program->p_type == PT_DYNAMIC) {
      dynamic_address = program->p_vaddr;
      dynamic_bytes = program->p_filesz;
    }
    if (program->p_type != PT_LOAD) continue;
    if (!slice(file_, program->p_offset, program->p_filesz))
      return malformed("a segment lies past the end of the file: it is truncated");
    if (program->p_memsz < program->p_filesz ||
        program->p_vaddr + program->p_memsz < program->p_vaddr)
      return malformed("a segment has an impossible size");
    segments_.push_back(LoadSegment{
        program->p_vaddr, program->p_memsz, program->p_offset, program->p_filesz,
        (program->p_flags & PF_X) != 0, (program->p_flags & PF_W) != 0});
  }
  if (segments_.empty()) return malformed("no segment to load");
  std::sort(segments_.begin(), segments_.end(), [](const LoadSegment& a, const LoadSegment& b) {
    return a.address < b.address;
  });
  for (size_t i = 1; i < segments_.size(); ++i)
    if (segments_[i].address - segments_[i - 1].address < segments_[i - 1].memory_bytes)
      return malformed("segments overlap");
  if (position_independent_ && dynamic_bytes > 0) read_relocations(dynamic_address, dynamic_bytes);
  return {};
}

void Image::read_section_headers() {
  auto header = *header_at<Elf64_Ehdr>(file_, 0);
  if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shnum > kSectionsMax) return;
  auto headers = slice(file_, header.e_shoff, uint64_t{header.e_shnum} * sizeof(Elf64_Shdr));
  if (!headers || header.e_shstrndx >= header.e_shnum) return;
  auto names_header = *header_at<Elf64_Shdr>(*headers, header.e_shstrndx * sizeof(Elf64_Shdr));
  auto names = slice(file_, names_header.sh_offset, names_header.sh_size);
  if (!names) return;
  for (uint16_t i = 0; i < header.e_shnum; ++i) {
    auto section = *header_at<Elf64_Shdr>(*headers, i * sizeof(Elf64_Shdr));
    if (section.sh_type == SHT_NULL || section.sh_name >= names->size()) continue;
    auto name = zero_terminated(names->subspan(section.sh_name));
    if (!name) continue;
    Bytes content;
    if (section.sh_type != SHT_NOBITS)
      content = slice(file_, section.sh_offset, section.sh_size).value_or(Bytes{});
    sections_.push_back(
        Section{*name, section.sh_addr, content, (section.sh_flags & SHF_COMPRESSED) != 0});
  }
}

void Image::read_relocations(uint64_t dynamic_address, uint64_t dynamic_bytes) {
  uint64_t table = 0;
  uint64_t table_bytes = 0;
  auto dynamic = read(dynamic_address, dynamic_bytes);
  if (!dynamic) return;
  for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic->size(); at += sizeof(Elf64_Dyn)) {
    uint64_t tag = load_u64(dynamic->data() + at);
    uint64_t value = load_u64(dynamic->data() + at + 8);
    if (tag == DT_NULL) break;
    if (tag == DT_RELA) table = value;
    if (tag == DT_RELASZ) table_bytes = value;
  }
  auto relocations = read(table, table_bytes - table_bytes % sizeof(Elf64_Rela));
  if (!relocations) return;
  relocations_ = *relocations;
  uint64_t count = relocations_.size() / sizeof(Elf64_Rela);
  bool sorted = true;
  for (uint64_t i = 1; i < count && sorted; ++i)
    sorted = load_u64(&relocations_[(i - 1) * sizeof(Elf64_Rela)]) <=
             load_u64(&relocations_[i * sizeof(Elf64_Rela)]);
  if (sorted) return;
  if (count > kUnsortedRelocationsMax) {
    relocations_ = {};
    return;
  }
  relocation_order_.resize(count);
  for (uint32_t i = 0; i < count; ++i) relocation_order_[i] = i;
  std::sort(relocation_order_.begin(), relocation_order_.end(), [this](uint32_t a, uint32_t b) {
    return load_u64(&relocations_[a * sizeof(Elf64_Rela)]) <
           load_u64(&relocations_[b * sizeof(Elf64_Rela)]);
  });
}

std::optional<Image::Relocation> Image::relocation(uint64_t index) const {
  uint64_t at = relocation_order_.empty() ? index : relocation_order_[index];
  const uint8_t* entry = relocations_.data() + at * sizeof(Elf64_Rela);
  return Relocation{
      load_u64(entry), is_relative_relocation(load_u64(entry + 8)) ? load_u64(entry + 16) : 0};
}

std::optional<uint64_t> Image::relocated(uint64_t address) const {
  uint64_t low = 0;
  uint64_t high = relocations_.size() / sizeof(Elf64_Rela);
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    auto entry = relocation(middle);
    if (entry->address == address) return entry->addend;
    if (entry->address < address)
      low = middle + 1;
    else
      high = middle;
  }
  return std::nullopt;
}

const LoadSegment* Image::segment_of(uint64_t address) const {
  for (const LoadSegment& segment : segments_)
    if (address - segment.address < segment.file_bytes && address >= segment.address)
      return &segment;
  return nullptr;
}

std::optional<Bytes> Image::read(uint64_t address, uint64_t size) const {
  const LoadSegment* segment = segment_of(address);
  if (segment == nullptr || size > segment->file_bytes - (address - segment->address))
    return std::nullopt;
  return file_.subspan(segment->file_offset + (address - segment->address), size);
}

Bytes Image::read_to_end(uint64_t address) const {
  const LoadSegment* segment = segment_of(address);
  if (segment == nullptr) return {};
  uint64_t skipped = address - segment->address;
  return file_.subspan(segment->file_offset + skipped, segment->file_bytes - skipped);
}

std::optional<uint8_t> Image::u8(uint64_t address) const {
  auto bytes = read(address, 1);
  return bytes ? std::optional(bytes->front()) : std::nullopt;
}

std::optional<uint16_t> Image::u16(uint64_t address) const {
  auto bytes = read(address, 2);
  return bytes ? std::optional(load_u16(bytes->data())) : std::nullopt;
}

std::optional<uint32_t> Image::u32(uint64_t address) const {
  auto bytes = read(address, 4);
  return bytes ? std::optional(load_u32(bytes->data())) : std::nullopt;
}

std::optional<uint64_t> Image::u64(uint64_t address) const {
  auto bytes = read(address, 8);
  return bytes ? std::optional(load_u64(bytes->data())) : std::nullopt;
}

std::optional<uint64_t> Image::pointer(uint64_t address) const {
  auto value = u64(address);
  if (value && *value == 0 && !relocations_.empty()) return relocated(address).value_or(0);
  return value;
}

std::optional<uint64_t> Image::file_offset(uint64_t address) const {
  const LoadSegment* segment = segment_of(address);
  if (segment == nullptr) return std::nullopt;
  return segment->file_offset + (address - segment->address);
}

std::vector<uint64_t> Image::pointers_to(uint64_t target, size_t limit) const {
  std::vector<uint64_t> found;
  for (const LoadSegment& segment : segments_) {
    if (!segment.writable) continue;
    Bytes content = file_.subspan(segment.file_offset, segment.file_bytes);
    for (uint64_t at = (8 - segment.address % 8) % 8; at + 8 <= content.size(); at += 8) {
      if (found.size() >= limit) return found;
      if (load_u64(content.data() + at) == target) found.push_back(segment.address + at);
    }
  }
  for (uint64_t i = 0; i < relocations_.size() / sizeof(Elf64_Rela); ++i) {
    if (found.size() >= limit) return found;
    auto entry = relocation(i);
    if (entry->addend == target && u64(entry->address) == 0) found.push_back(entry->address);
  }
  return found;
}

const Image::Section* Image::section(std::string_view name) const {
  for (const Section& section : sections_)
    if (section.name == name) return &section;
  return nullptr;
}

} // namespace agent::process
