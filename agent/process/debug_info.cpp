#include "agent/process/debug_info.h"

#include "agent/process/limits.h"

#include <dwarf.h>
#include <elf.h>
#include <elfutils/libdw.h>
#include <libelf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

namespace agent::process {
namespace {

struct ElfEnd {
  void operator()(Elf* elf) const { elf_end(elf); }
};
struct DwarfEnd {
  void operator()(Dwarf* dwarf) const { dwarf_end(dwarf); }
};

// What structs and their names need; lines, frames and locations are most of the rest.
bool is_wanted(std::string_view name) {
  size_t prefix = name.substr(0, 2) == ".z" ? 2 : 1;
  std::string_view rest = name.substr(std::min(prefix, name.size()));
  return rest == "debug_info" || rest == "debug_abbrev" || rest == "debug_str" ||
         rest == "debug_line_str" || rest == "debug_str_offsets" || rest == "debug_addr";
}

// What libdw will unpack a section to, by the section's own word; the worker's memory limit has the
// last one.
uint64_t unpacked_bytes(const Image::Section& section) {
  Bytes content = section.content;
  if (section.name.substr(0, 8) == ".zdebug_" && content.size() >= 12) {
    uint64_t size = 0;
    for (int i = 4; i < 12; ++i) size = size << 8 | content[i];
    return std::min(size, kFileBytesMax);
  }
  if (section.compressed && content.size() >= sizeof(Elf64_Chdr))
    return std::min(load_u64(content.data() + 8), kFileBytesMax);
  return content.size();
}

// libelf writes into the headers of an image it is given, and libdw unpacks every section that it
// finds there: so it gets an image of its own, with the wanted sections alone.
std::string reduced_image(const Image& image) {
  std::vector<Elf64_Shdr> headers(1);
  std::string names("\0.shstrtab\0", 11);
  std::string content;
  auto align = [&content] { content.resize((content.size() + 7) & ~size_t{7}); };
  content.resize(sizeof(Elf64_Ehdr));
  auto add = [&](uint32_t name, uint64_t type, uint64_t flags, std::string_view bytes) {
    align();
    Elf64_Shdr header{};
    header.sh_name = name;
    header.sh_type = static_cast<Elf64_Word>(type);
    header.sh_flags = flags;
    header.sh_offset = content.size();
    header.sh_size = bytes.size();
    header.sh_addralign = 1;
    headers.push_back(header);
    content.append(bytes);
  };
  for (const Image::Section& section : image.sections()) {
    if (!is_wanted(section.name)) continue;
    auto name = static_cast<uint32_t>(names.size());
    names.append(section.name).push_back('\0');
    add(name, SHT_PROGBITS, section.compressed ? SHF_COMPRESSED : 0,
        {reinterpret_cast<const char*>(section.content.data()), section.content.size()});
  }
  add(1, SHT_STRTAB, 0, names);
  align();
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, image.file().data(), EI_NIDENT);
  header.e_type = ET_EXEC;
  header.e_machine = image.architecture() == Architecture::kAmd64 ? EM_X86_64 : EM_AARCH64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shoff = content.size();
  header.e_shnum = static_cast<Elf64_Half>(headers.size());
  header.e_shstrndx = static_cast<Elf64_Half>(headers.size() - 1);
  std::memcpy(content.data(), &header, sizeof(header));
  content.append(
      reinterpret_cast<const char*>(headers.data()), headers.size() * sizeof(Elf64_Shdr));
  return content;
}

std::string name_of(Dwarf_Die* die) {
  const char* name = dwarf_diename(die);
  return name == nullptr ? std::string() : std::string(name);
}

// The member's type without the typedefs around it.
bool peeled_type(Dwarf_Die* member, Dwarf_Die* type) {
  Dwarf_Attribute attribute;
  if (dwarf_attr(member, DW_AT_type, &attribute) == nullptr ||
      dwarf_formref_die(&attribute, type) == nullptr)
    return false;
  for (int depth = 0; depth < 8 && dwarf_tag(type) == DW_TAG_typedef; ++depth) {
    Dwarf_Die next;
    if (dwarf_attr(type, DW_AT_type, &attribute) == nullptr ||
        dwarf_formref_die(&attribute, &next) == nullptr)
      return false;
    *type = next;
  }
  return true;
}

std::optional<Field> member(Dwarf_Die* structure, const std::string& name, Dwarf_Die* type) {
  Dwarf_Die child;
  if (dwarf_child(structure, &child) != 0) return std::nullopt;
  for (uint64_t i = 0; i < kStructFieldsMax; ++i) {
    if (dwarf_tag(&child) == DW_TAG_member && name_of(&child) == name) {
      Dwarf_Attribute attribute;
      Dwarf_Word offset = 0;
      Dwarf_Word size = 0;
      if (dwarf_attr(&child, DW_AT_data_member_location, &attribute) == nullptr ||
          dwarf_formudata(&attribute, &offset) != 0 || !peeled_type(&child, type) ||
          dwarf_aggregate_size(type, &size) != 0)
        return std::nullopt;
      return Field{offset, size};
    }
    Dwarf_Die next;
    if (dwarf_siblingof(&child, &next) != 0) return std::nullopt;
    child = next;
  }
  return std::nullopt;
}

std::optional<Field> field_of(Dwarf_Die structure, const FieldName& name) {
  Field result;
  for (const std::string& part : name.path) {
    Dwarf_Die type;
    auto found = member(&structure, part, &type);
    if (!found) return std::nullopt;
    result.offset += found->offset;
    result.size = found->size;
    structure = type;
  }
  return result;
}

// Visits the structs at the top of every unit until all wanted ones were seen.
void read_structs(Dwarf* dwarf, std::span<const NamedField> wanted, DebugFields& answer) {
  std::set<std::string> open;
  for (const NamedField& field : wanted) open.insert(field.name.type.qualified());
  Dwarf_CU* unit = nullptr;
  Dwarf_Die unit_die;
  while (!open.empty() &&
         dwarf_get_units(dwarf, unit, &unit, nullptr, nullptr, &unit_die, nullptr) == 0) {
    Dwarf_Die die;
    if (dwarf_child(&unit_die, &die) != 0) continue;
    while (true) {
      if (dwarf_tag(&die) == DW_TAG_structure_type) {
        std::string name = name_of(&die);
        if (open.erase(name) != 0)
          for (const NamedField& field : wanted)
            if (field.name.type.qualified() == name)
              if (auto found = field_of(die, field.name)) answer.fields.emplace(field.text, *found);
      }
      Dwarf_Die next;
      if (open.empty() || dwarf_siblingof(&die, &next) != 0) break;
      die = next;
    }
  }
}

} // namespace

bool has_debug_info(const Image& image) {
  return image.section(".debug_info") != nullptr || image.section(".zdebug_info") != nullptr;
}

DebugFields read_debug_fields(const Image& image, std::span<const NamedField> wanted) {
  DebugFields answer;
  if (!has_debug_info(image)) return answer;
  answer.state = DwarfCheck::kNotChecked;
  uint64_t total = 0;
  for (const Image::Section& section : image.sections())
    if (is_wanted(section.name)) total += unpacked_bytes(section);
  if (total > kDebugInfoBytesMax) {
    answer.detail = std::to_string(total >> 20) + " MB of debug information are too many to unpack";
    return answer;
  }
  elf_version(EV_CURRENT);
  std::string reduced = reduced_image(image);
  std::unique_ptr<Elf, ElfEnd> elf(elf_memory(reduced.data(), reduced.size()));
  std::unique_ptr<Dwarf, DwarfEnd> dwarf(
      elf == nullptr ? nullptr : dwarf_begin_elf(elf.get(), DWARF_C_READ, nullptr));
  if (dwarf == nullptr) {
    const char* message = dwarf_errmsg(-1);
    answer.detail = std::string("the debug information cannot be read: ") +
                    (message == nullptr ? "unknown error" : message);
    return answer;
  }
  read_structs(dwarf.get(), wanted, answer);
  answer.state = DwarfCheck::kAgrees;
  return answer;
}

} // namespace agent::process
