// The type descriptors that garbage collection, interfaces and reflection need, and that therefore
// stay in stripped programs: from them every struct offset is read.
#pragma once

#include "agent/process/fact_names.h"
#include "agent/process/module_data.h"

#include <span>
#include <string>
#include <unordered_map>

namespace agent::process {

class RuntimeTypes {
 public:
  RuntimeTypes(const Image& image, const GoVersion& version, const ModuleData& module);

  // Walks all types once, and keeps the descriptors of the wanted ones. Later calls add nothing.
  void find(std::span<const TypeName> wanted);

  // Of a type that find() was asked for. Nothing when the program has no descriptor of it.
  std::optional<TypeDescriptor> descriptor(const TypeName& type) const;
  // Through structs held by value. LAYOUT_MISSING with the reason when there is no such field.
  base::Result<Field> field(const FieldName& field) const;

 private:
  struct Header {
    uint64_t size;
    uint8_t flags;
    uint8_t kind;
    int32_t name;
    int32_t pointer_type;
  };
  class Walk;

  std::optional<Header> header(uint64_t address) const;
  // The text of a name record: flag byte, varint length, bytes.
  std::optional<std::string_view> name_at(uint64_t address) const;
  std::optional<std::string_view> display_name(const Header& header) const;
  std::optional<std::string_view> package_path(uint64_t address, const Header& header) const;
  // Bytes from the descriptor's start to the end of what its kind adds; nothing when it is no
  // descriptor.
  std::optional<uint64_t> descriptor_bytes(uint64_t address, const Header& header) const;
  base::Result<Field> member(uint64_t struct_address, std::string_view name, uint64_t& type) const;
  bool is(uint64_t address, const Header& header, const TypeName& type) const;

  const Image& image_;
  const GoVersion version_;
  const ModuleData& module_;
  std::unordered_map<std::string, uint64_t> found_; // qualified name → address
};

} // namespace agent::process
