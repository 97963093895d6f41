// The function table (.gopclntab), which no stripping removes: names, entries, and where each
// prologue ends.
#pragma once

#include "agent/process/module_data.h"

#include <functional>

namespace agent::process {

class FunctionTable {
 public:
  FunctionTable(const Image& image, const GoVersion& version, const ModuleData& module);

  struct Entry {
    std::string_view name;
    uint64_t address = 0;
    uint64_t size = 0;
    uint64_t record = 0; // offset of its runtime._func in the table's last part
  };
  // In ascending order of addresses. BINARY_MALFORMED when an entry points outside the table.
  base::Result<void> for_each(const std::function<void(const Entry&)>& visit) const;

  // The function with its prologue and code.
  base::Result<Function> read(const Entry& entry) const;

 private:
  uint64_t prologue_end(const Entry& entry) const;

  const Image& image_;
  const ModuleData& module_;
  bool addresses_are_offsets_; // 1.18 on
  uint8_t instruction_bytes_ = 1;
  Bytes names_;
  Bytes pcs_;
  Bytes functions_;
};

} // namespace agent::process
