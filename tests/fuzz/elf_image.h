// A minimal executable around fuzzed bytes: one segment that holds them, mapped at kFuzzedAddress.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace fuzz {

inline constexpr uint64_t kFuzzedAddress = 0x400000;

inline std::vector<uint8_t> image_around(const uint8_t* data, size_t size) {
  constexpr size_t kContent = 4096;
  std::vector<uint8_t> file(kContent + size);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = PF_R | PF_W | PF_X;
  segment.p_offset = kContent;
  segment.p_vaddr = kFuzzedAddress;
  segment.p_filesz = size;
  segment.p_memsz = size;
  std::memcpy(file.data(), &header, sizeof(header));
  std::memcpy(file.data() + sizeof(header), &segment, sizeof(segment));
  if (size != 0) std::memcpy(file.data() + kContent, data, size);
  return file;
}

} // namespace fuzz
