// DWARF, where it was not stripped: a second opinion on the offsets that the type descriptors give.
#pragma once

#include "agent/process/fact_names.h"
#include "agent/process/image.h"

#include <map>
#include <span>

namespace agent::process {

struct DebugFields {
  DwarfCheck state = DwarfCheck::kAbsent; // kAbsent, kNotChecked, or kAgrees: the fields were read
  std::string detail;                     // why it was not read
  std::map<std::string, Field>
      fields; // by the name in the request; what DWARF does not know is left out
};

struct NamedField {
  std::string text; // as requested
  FieldName name;
};

// Reads only the requested structs. What is larger than kDebugInfoBytesMax is not read at all.
DebugFields read_debug_fields(const Image& image, std::span<const NamedField> wanted);

// Whether the file has any debug information.
bool has_debug_info(const Image& image);

} // namespace agent::process
