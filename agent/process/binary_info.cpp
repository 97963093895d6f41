#include "agent/process/binary_info.h"

namespace agent::process {
namespace {

template <class Map> const typename Map::mapped_type* find(const Map& map, std::string_view name) {
  auto found = map.find(name);
  return found == map.end() ? nullptr : &found->second;
}

} // namespace

const Function* BinaryInfo::find_function(std::string_view name) const {
  return find(functions, name);
}

const Field* BinaryInfo::find_field(std::string_view name) const { return find(fields, name); }

const TypeDescriptor* BinaryInfo::find_type(std::string_view name) const {
  return find(types, name);
}

const MissingFact* BinaryInfo::find_missing(std::string_view name) const {
  for (const MissingFact& fact : missing)
    if (fact.name == name) return &fact;
  return nullptr;
}

std::string_view name_of(Architecture architecture) {
  return architecture == Architecture::kAmd64 ? "amd64" : "arm64";
}

} // namespace agent::process
