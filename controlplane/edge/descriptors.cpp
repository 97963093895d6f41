#include "controlplane/edge/descriptors.h"

// The assembler copies the file into the read-only data: no array of numbers for the compiler to
// read.
__asm__(".section .rodata\n"
        ".balign 16\n"
        "sonde_descriptor_set_begin:\n"
        ".incbin \"" SONDE_DESCRIPTOR_SET "\"\n"
        "sonde_descriptor_set_end:\n"
        ".previous\n");

extern "C" {
extern const char sonde_descriptor_set_begin[];
extern const char sonde_descriptor_set_end[];
}

namespace controlplane::edge {

std::string_view descriptor_set() {
  return {
      sonde_descriptor_set_begin,
      static_cast<size_t>(sonde_descriptor_set_end - sonde_descriptor_set_begin)};
}

} // namespace controlplane::edge
