#include "agent/process/module_data.h"

#include "agent/process/limits.h"

#include <algorithm>
#include <cstring>

namespace agent::process {
namespace {

// A magic number alone occurs by chance in large binaries; more than a few tables are a file made
// to waste our time.
constexpr size_t kTableCandidatesMax = 16;
constexpr size_t kModuleCandidatesMax = 64;
constexpr uint64_t kHeaderBytes = 72;

// Offsets of runtime.moduledata that are the same from 1.17 to 1.27 (src/runtime/symtab.go).
constexpr uint64_t kFunctionNames = 8;
constexpr uint64_t kPcTable = 80;
constexpr uint64_t kPclnTable = 104;
constexpr uint64_t kFunctionTable = 128;
constexpr uint64_t kMinPc = 160;
constexpr uint64_t kMaxPc = 168;
constexpr uint64_t kText = 176;
constexpr uint64_t kTextEnd = 184;
constexpr uint64_t kData = 208;
constexpr uint64_t kBss = 224;

// … and those that moved. Zero: this version has no such field.
struct Layout {
  int since_minor;
  uint64_t types, types_end, descriptor_bytes, text_sections, type_links;
};
constexpr Layout kLayouts[] = {
    {27, 296, 312, 304, 360, 0}, // typedesclen, itaboffset, itabsize; typelinks are gone
    {26, 296, 304, 0, 336, 360}, // epclntab
    {20, 296, 304, 0, 328, 352}, // covctrs, ecovctrs
    {18, 280, 288, 0, 312, 336}, // rodata, gofunc
    {17, 280, 288, 0, 296, 320},
};

const Layout& layout_of(const GoVersion& version) {
  for (const Layout& layout : kLayouts)
    if (version.minor >= layout.since_minor) return layout;
  return kLayouts[std::size(kLayouts) - 1];
}

uint32_t magic_of(const GoVersion& version) {
  if (version.minor >= 20) return 0xfffffff1;
  return version.minor >= 18 ? 0xfffffff0 : 0xfffffffa;
}

// The header of a function table, or nothing when it does not look like one.
struct Header {
  uint64_t function_count;
  uint64_t names, pcs, functions; // offsets from the header
};

std::optional<Header> header_at(Bytes bytes, const GoVersion& version) {
  if (bytes.size() < kHeaderBytes || load_u32(bytes.data()) != magic_of(version))
    return std::nullopt;
  if (bytes[4] != 0 || bytes[5] != 0 || (bytes[6] != 1 && bytes[6] != 4) || bytes[7] != 8)
    return std::nullopt;
  uint64_t offsets = version.minor >= 18 ? 32 : 24; // 1.18 put textStart before them
  Header header{
      load_u64(&bytes[8]), load_u64(&bytes[offsets]), load_u64(&bytes[offsets + 24]),
      load_u64(&bytes[offsets + 32])};
  bool ordered =
      header.names < header.pcs && header.pcs < header.functions && header.functions < bytes.size();
  if (!ordered || header.function_count == 0 || header.function_count > kFunctionsMax)
    return std::nullopt;
  return header;
}

std::vector<uint64_t> find_tables(const Image& image, const GoVersion& version) {
  for (std::string_view name : {".gopclntab", ".data.rel.ro.gopclntab"})
    if (const Image::Section* section = image.section(name))
      if (header_at(image.read_to_end(section->address), version)) return {section->address};
  std::vector<uint64_t> found;
  uint32_t magic = magic_of(version);
  for (const LoadSegment& segment : image.segments()) {
    Bytes content = image.read_to_end(segment.address);
    for (uint64_t at = (8 - segment.address % 8) % 8; at + kHeaderBytes <= content.size();
         at += 8) {
      if (load_u32(content.data() + at) != magic) continue;
      if (header_at(content.subspan(at), version)) found.push_back(segment.address + at);
      if (found.size() >= kTableCandidatesMax) return found;
    }
  }
  return found;
}

// Reads the pointers of one candidate; a missing one makes the whole reader fail.
class Words {
 public:
  Words(const Image& image, uint64_t base) : image_(image), base_(base) {}
  uint64_t operator[](uint64_t offset) {
    auto value = image_.pointer(base_ + offset);
    complete_ = complete_ && value.has_value();
    return value.value_or(0);
  }
  bool complete() const { return complete_; }

 private:
  const Image& image_;
  uint64_t base_;
  bool complete_ = true;
};

bool agrees_with_table(
    const Image& image, const GoVersion& version, const Header& header, const ModuleData& module,
    Words& words) {
  uint64_t functions = module.function_table + header.functions;
  if (words[kFunctionNames] != module.function_table + header.names) return false;
  if (words[kPcTable] != module.function_table + header.pcs) return false;
  if (words[kPclnTable] != functions || words[kFunctionTable] != functions) return false;
  if (words[kFunctionTable + 8] != header.function_count + 1) return false;
  uint64_t entry_bytes = version.minor >= 18 ? 8 : 16;
  uint64_t last = functions + header.function_count * entry_bytes;
  auto entry = [&](uint64_t at) -> std::optional<uint64_t> {
    if (version.minor < 18) return image.pointer(at);
    auto offset = image.u32(at);
    return offset ? std::optional(module.text + *offset) : std::nullopt;
  };
  return entry(functions) == words[kMinPc] && entry(last) == words[kMaxPc];
}

std::optional<ModuleData>
module_at(const Image& image, const GoVersion& version, uint64_t table, uint64_t address) {
  const Layout& layout = layout_of(version);
  auto header = header_at(image.read_to_end(table), version);
  Words words(image, address);
  ModuleData module;
  module.address = address;
  module.function_table = table;
  module.function_count = header->function_count;
  module.text = words[kText];
  module.text_end = words[kTextEnd];
  module.types = words[layout.types];
  module.types_end = words[layout.types_end];
  if (layout.descriptor_bytes != 0) module.descriptor_bytes = words[layout.descriptor_bytes];
  if (layout.type_links != 0) {
    module.type_links = words[layout.type_links];
    module.type_link_count = words[layout.type_links + 8];
  }
  module.data = words[kData];
  module.data_end = words[kData + 8];
  module.bss = words[kBss];
  module.bss_end = words[kBss + 8];
  uint64_t last_table = words[kPclnTable];
  uint64_t last_table_bytes = words[kPclnTable + 8];
  uint64_t text_sections = words[layout.text_sections + 8];
  if (!words.complete() || !agrees_with_table(image, version, *header, module, words))
    return std::nullopt;

  if (module.text >= module.text_end || !image.read(module.text, module.text_end - module.text))
    return std::nullopt;
  uint64_t type_bytes = module.types_end - module.types;
  if (module.types >= module.types_end || type_bytes > kTypeDataBytesMax ||
      !image.read(module.types, type_bytes) || module.descriptor_bytes > type_bytes)
    return std::nullopt;
  if (module.type_link_count > type_bytes / 8 ||
      (module.type_link_count != 0 && !image.read(module.type_links, module.type_link_count * 4)))
    return std::nullopt;
  module.function_table_bytes = last_table + last_table_bytes - table;
  if (last_table_bytes > kFileBytesMax || !image.read(table, module.function_table_bytes))
    return std::nullopt;
  // Text in several pieces occurs only where a call cannot reach all of it: not on amd64, and on
  // arm64 above 128 MB.
  if (text_sections > 1) return std::nullopt;
  return module;
}

} // namespace

base::Result<ModuleData> find_module_data(const Image& image, const GoVersion& version) {
  std::vector<uint64_t> tables = find_tables(image, version);
  if (tables.empty()) return malformed("a Go program without a function table (.gopclntab)");
  for (uint64_t table : tables)
    for (uint64_t address : image.pointers_to(table, kModuleCandidatesMax))
      if (auto module = module_at(image, version, table, address)) return *module;
  return malformed("no module data agrees with the function table");
}

} // namespace agent::process
