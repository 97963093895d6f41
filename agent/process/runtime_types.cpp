#include "agent/process/runtime_types.h"

#include "agent/process/limits.h"

#include <algorithm>
#include <map>

namespace agent::process {
namespace {

// abi.Type, the same 48 bytes on 64-bit machines since 1.17.
constexpr uint64_t kHeaderBytes = 48;
constexpr uint64_t kUncommonBytes = 16;
constexpr uint64_t kMethodBytes = 16;
constexpr uint64_t kFieldBytes = 24;
constexpr uint64_t kStructFields = 56; // slice
constexpr uint64_t kElement = 48;

constexpr uint8_t kHasUncommon = 1;
constexpr uint8_t kExtraStar = 2;
constexpr uint8_t kKindMask = 31;

enum Kind : uint8_t {
  kArray = 17,
  kChan = 18,
  kFunc = 19,
  kInterface = 20,
  kMap = 21,
  kPointer = 22,
  kSlice = 23,
  kStruct = 25,
  kUnsafePointer = 26,
};

// Size of the descriptor before its uncommon part.
uint64_t base_bytes(uint8_t kind, const GoVersion& version) {
  switch (kind) {
  case kArray:
    return 72;
  case kChan:
    return 64;
  case kFunc:
  case kPointer:
  case kSlice:
    return 56;
  case kInterface:
  case kStruct:
    return 80;
  case kMap:
    if (version.minor >= 27) return 136;
    return version.minor >= 24 ? 112 : 88;
  default:
    return kHeaderBytes;
  }
}

base::Error layout_missing(std::string message) {
  return base::not_found("LAYOUT_MISSING", std::move(message));
}

} // namespace

// All types that can be reached from the roots, each visited once. Its memory is one bit for every
// place where a descriptor can start, and the stack of those still to visit.
class RuntimeTypes::Walk {
 public:
  Walk(const RuntimeTypes& types, std::span<const TypeName> wanted)
      : types_(types), image_(types.image_), module_(types.module_),
        seen_((module_.types_end - module_.types) / 8 + 1) {
    for (const TypeName& type : wanted) wanted_[type.display()].push_back(&type);
  }

  std::unordered_map<std::string, uint64_t> run() {
    push_roots();
    while (!stack_.empty()) {
      uint64_t address = module_.types + uint64_t{stack_.back()} * 8;
      stack_.pop_back();
      visit(address);
    }
    return std::move(found_);
  }

 private:
  void push(uint64_t address) {
    if (address < module_.types || address >= module_.types_end || address % 8 != 0) return;
    uint64_t index = (address - module_.types) / 8;
    if (seen_[index]) return;
    seen_[index] = true;
    stack_.push_back(static_cast<uint32_t>(index));
  }
  void push_offset(int32_t offset) {
    if (offset > 0) push(module_.types + static_cast<uint64_t>(offset));
  }
  void push_pointer(uint64_t at) {
    if (auto address = image_.pointer(at)) push(*address);
  }

  void push_roots() {
    if (module_.descriptor_bytes == 0) {
      Bytes links = image_.read(module_.type_links, module_.type_link_count * 4).value_or(Bytes{});
      for (uint64_t at = 0; at + 4 <= links.size(); at += 4)
        push_offset(static_cast<int32_t>(load_u32(links.data() + at)));
      return;
    }
    // 1.27 has no list: the descriptors follow each other, as the runtime itself walks them.
    uint64_t at = module_.types + 8;
    uint64_t end = module_.types + module_.descriptor_bytes;
    while (at < end) {
      auto header = types_.header(at);
      auto bytes = header ? types_.descriptor_bytes(at, *header) : std::nullopt;
      if (bytes && types_.display_name(*header)) push(at);
      at += bytes ? (*bytes + 7) & ~uint64_t{7} : 8;
    }
  }

  void visit(uint64_t address) {
    auto header = types_.header(address);
    if (!header) return;
    if (auto name = types_.display_name(*header)) {
      // Two packages may end alike ("http"): all candidates of that display name are held against
      // the full path.
      auto wanted = wanted_.find(*name);
      if (wanted != wanted_.end())
        for (const TypeName* type : wanted->second)
          if (types_.is(address, *header, *type)) found_.emplace(type->qualified(), address);
    }
    push_offset(header->pointer_type);
    push_parts(address, *header);
  }

  void push_parts(uint64_t address, const Header& header) {
    switch (header.kind) {
    case kArray:
    case kChan:
    case kPointer:
    case kSlice:
      push_pointer(address + kElement);
      break;
    case kMap:
      push_pointer(address + kElement);
      push_pointer(address + kElement + 8);
      push_pointer(address + kElement + 16); // bucket or group
      break;
    case kFunc:
      push_parameters(address, header);
      break;
    case kInterface:
      push_interface_methods(address);
      break;
    case kStruct:
      push_fields(address);
      break;
    default:
      break;
    }
  }

  void push_parameters(uint64_t address, const Header& header) {
    auto in = image_.u16(address + 48);
    auto out = image_.u16(address + 50);
    if (!in || !out) return;
    uint64_t count = std::min<uint64_t>(*in + (*out & 0x7fff), kFunctionParametersMax);
    uint64_t at = address + 56 + ((header.flags & kHasUncommon) != 0 ? kUncommonBytes : 0);
    for (uint64_t i = 0; i < count; ++i) push_pointer(at + i * 8);
  }

  void push_interface_methods(uint64_t address) {
    auto methods = image_.pointer(address + 56);
    auto count = image_.u64(address + 64);
    if (!methods || !count) return;
    for (uint64_t i = 0; i < std::min(*count, kStructFieldsMax); ++i)
      if (auto type = image_.u32(*methods + i * 8 + 4)) push_offset(static_cast<int32_t>(*type));
  }

  void push_fields(uint64_t address) {
    auto fields = image_.pointer(address + kStructFields);
    auto count = image_.u64(address + kStructFields + 8);
    if (!fields || !count) return;
    for (uint64_t i = 0; i < std::min(*count, kStructFieldsMax); ++i)
      push_pointer(*fields + i * kFieldBytes + 8);
  }

  const RuntimeTypes& types_;
  const Image& image_;
  const ModuleData& module_;
  std::map<std::string, std::vector<const TypeName*>, std::less<>> wanted_; // by display name
  std::vector<bool> seen_;
  std::vector<uint32_t> stack_; // offsets from the start of the types, in words
  std::unordered_map<std::string, uint64_t> found_;
};

RuntimeTypes::RuntimeTypes(const Image& image, const GoVersion& version, const ModuleData& module)
    : image_(image), version_(version), module_(module) {}

void RuntimeTypes::find(std::span<const TypeName> wanted) { found_ = Walk(*this, wanted).run(); }

std::optional<TypeDescriptor> RuntimeTypes::descriptor(const TypeName& type) const {
  auto found = found_.find(type.qualified());
  if (found == found_.end()) return std::nullopt;
  auto described = header(found->second);
  return described ? std::optional(TypeDescriptor{found->second, described->size}) : std::nullopt;
}

base::Result<Field> RuntimeTypes::field(const FieldName& field) const {
  auto found = found_.find(field.type.qualified());
  if (found == found_.end())
    return layout_missing("the program has no descriptor of " + field.type.qualified());
  Field result;
  uint64_t type = found->second;
  for (const std::string& name : field.path) {
    Field part = TRY(member(type, name, type));
    result.offset += part.offset;
    result.size = part.size;
  }
  return result;
}

std::optional<RuntimeTypes::Header> RuntimeTypes::header(uint64_t address) const {
  if (address < module_.types || address >= module_.types_end) return std::nullopt;
  auto bytes = image_.read(address, kHeaderBytes);
  if (!bytes) return std::nullopt;
  Header header{
      load_u64(bytes->data()), (*bytes)[20], static_cast<uint8_t>((*bytes)[23] & kKindMask),
      static_cast<int32_t>(load_u32(bytes->data() + 40)),
      static_cast<int32_t>(load_u32(bytes->data() + 44))};
  if (header.kind == 0 || header.kind > kUnsafePointer) return std::nullopt;
  return header;
}

std::optional<std::string_view> RuntimeTypes::name_at(uint64_t address) const {
  Bytes bytes = image_.read_to_end(address);
  if (bytes.size() < 2) return std::nullopt;
  bytes = bytes.subspan(1);
  auto length = take_varint(bytes);
  if (!length || *length > kNameBytesMax || *length > bytes.size()) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), *length);
}

std::optional<std::string_view> RuntimeTypes::display_name(const Header& header) const {
  if (header.name <= 0) return std::nullopt;
  auto name = name_at(module_.types + static_cast<uint64_t>(header.name));
  if (!name || name->empty()) return std::nullopt;
  // A type and its pointer share one text, "*http.Request"; the flag says whose star it is not.
  if ((header.flags & kExtraStar) != 0) name->remove_prefix(1);
  return name;
}

std::optional<std::string_view>
RuntimeTypes::package_path(uint64_t address, const Header& header) const {
  if ((header.flags & kHasUncommon) == 0) return std::nullopt;
  auto offset = image_.u32(address + base_bytes(header.kind, version_));
  if (!offset || static_cast<int32_t>(*offset) <= 0) return std::nullopt;
  return name_at(module_.types + *offset);
}

std::optional<uint64_t>
RuntimeTypes::descriptor_bytes(uint64_t address, const Header& header) const {
  uint64_t bytes = base_bytes(header.kind, version_);
  auto count_at = [&](uint64_t offset) {
    return image_.u64(address + offset).value_or(UINT64_MAX);
  };
  uint64_t added = 0;
  if (header.kind == kStruct) {
    if (count_at(64) > kStructFieldsMax) return std::nullopt;
    added = count_at(64) * kFieldBytes;
  } else if (header.kind == kInterface) {
    if (count_at(64) > kStructFieldsMax) return std::nullopt;
    added = count_at(64) * 8;
  } else if (header.kind == kFunc) {
    uint64_t count = image_.u16(address + 48).value_or(0) +
                     uint64_t{image_.u16(address + 50).value_or(0) & 0x7fffu};
    if (count > kFunctionParametersMax) return std::nullopt;
    added = count * 8;
  }
  uint64_t methods = 0;
  if ((header.flags & kHasUncommon) != 0) {
    methods = image_.u16(address + bytes + 4).value_or(0);
    bytes += kUncommonBytes;
  }
  return bytes + added + methods * kMethodBytes;
}

bool RuntimeTypes::is(uint64_t address, const Header& header, const TypeName& type) const {
  if (type.pointer) {
    if (header.kind != kPointer) return false;
    auto element = image_.pointer(address + kElement);
    auto element_header = element ? this->header(*element) : std::nullopt;
    if (!element_header) return false;
    TypeName pointed = type;
    pointed.pointer = false;
    return display_name(*element_header) == pointed.display() &&
           is(*element, *element_header, pointed);
  }
  return package_path(address, header) == type.package;
}

base::Result<Field>
RuntimeTypes::member(uint64_t struct_address, std::string_view name, uint64_t& type) const {
  auto structure = header(struct_address);
  if (!structure || structure->kind != kStruct)
    return layout_missing("what should hold " + std::string(name) + " is no struct");
  auto fields = image_.pointer(struct_address + kStructFields);
  auto count = image_.u64(struct_address + kStructFields + 8);
  if (!fields || !count || *count > kStructFieldsMax)
    return layout_missing("the struct that should hold " + std::string(name) + " cannot be read");
  for (uint64_t i = 0; i < *count; ++i) {
    uint64_t at = *fields + i * kFieldBytes;
    auto name_address = image_.pointer(at);
    if (!name_address || name_at(*name_address) != name) continue;
    auto field_type = image_.pointer(at + 8);
    auto offset = image_.u64(at + 16);
    auto described = field_type ? header(*field_type) : std::nullopt;
    if (!offset || !described) break;
    // Before 1.19 the lowest bit said whether the field is embedded.
    Field field{version_.minor >= 19 ? *offset : *offset >> 1, described->size};
    if (field.offset > structure->size || field.size > structure->size - field.offset)
      return layout_missing("field " + std::string(name) + " lies outside its struct");
    type = *field_type;
    return field;
  }
  return layout_missing("there is no field " + std::string(name));
}

} // namespace agent::process
