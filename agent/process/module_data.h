// runtime.firstmoduledata: where the Go runtime itself finds its function table and its types. The
// anchor of everything else that is read, so each of its claims is held against the function table
// before it counts.
#pragma once

#include "agent/process/image.h"

namespace agent::process {

struct ModuleData {
  uint64_t address = 0;
  uint64_t function_table = 0; // the pclntab's header
  uint64_t function_table_bytes = 0;
  uint64_t function_count = 0;
  uint64_t text = 0; // Go's own text
  uint64_t text_end = 0;
  uint64_t types = 0; // type data: descriptors, names
  uint64_t types_end = 0;
  uint64_t descriptor_bytes = 0; // 1.27 on: the descriptors stand one after the other from `types`
  uint64_t type_links = 0;       // to 1.26: int32 offsets from `types`
  uint64_t type_link_count = 0;
  uint64_t data = 0; // writable variables with pointers
  uint64_t data_end = 0;
  uint64_t bss = 0; // the same, zero at start
  uint64_t bss_end = 0;
};

// BINARY_MALFORMED when no function table, or no module data that agrees with it, is found.
base::Result<ModuleData> find_module_data(const Image& image, const GoVersion& version);

} // namespace agent::process
