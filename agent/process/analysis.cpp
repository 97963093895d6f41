#include "agent/process/analysis.h"

#include "agent/process/build_info.h"
#include "agent/process/debug_info.h"
#include "agent/process/function_table.h"
#include "agent/process/limits.h"
#include "agent/process/runtime_types.h"
#include "base/hex.h"

#include <openssl/evp.h>

#include <memory>
#include <set>

namespace agent::process {
namespace {

constexpr std::string_view kSymbolNotFound = "SYMBOL_NOT_FOUND";
constexpr std::string_view kLayoutMissing = "LAYOUT_MISSING";
constexpr std::string_view kLayoutConflict = "LAYOUT_CONFLICT";

std::string content_hash(const Image& image, const ModuleData& module, const BuildInfo& build) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  auto add = [&](uint64_t address, const void* bytes, uint64_t size) {
    uint64_t place[2] = {address, size};
    EVP_DigestUpdate(context.get(), place, sizeof(place));
    EVP_DigestUpdate(context.get(), bytes, size);
  };
  for (const LoadSegment& segment : image.segments())
    if (segment.executable)
      add(segment.address, image.file().data() + segment.file_offset, segment.file_bytes);
  if (auto table = image.read(module.function_table, module.function_table_bytes))
    add(module.function_table, table->data(), table->size());
  if (auto types = image.read(module.types, module.types_end - module.types))
    add(module.types, types->data(), types->size());
  add(0, build.raw.data(), build.raw.size());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_bytes = 0;
  EVP_DigestFinal_ex(context.get(), digest, &digest_bytes);
  return base::to_hex({reinterpret_cast<const char*>(digest), digest_bytes});
}

// A note: name size, description size, type, "Go\0\0", description.
std::string build_id(const Image& image) {
  const Image::Section* note = image.section(".note.go.buildid");
  if (note == nullptr || note->content.size() < 16) return {};
  auto text = slice(note->content, 16, load_u32(note->content.data() + 4));
  if (!text || text->size() > kNameBytesMax) return {};
  return {reinterpret_cast<const char*>(text->data()), text->size()};
}

// One analysis: what is read is collected in `info_`, step by step.
class Analysis {
 public:
  Analysis(const Image& image, const BuildInfo& build, const ModuleData& module)
      : image_(image), build_(build), module_(module) {}

  base::Result<BinaryInfo> run(const FactRequest& request) {
    describe();
    TRY(read_functions(request.functions));
    TRY(read_layouts(request));
    return std::move(info_);
  }

 private:
  void describe() {
    info_.go_version_text = build_.go_version_text;
    info_.go_version = build_.go_version;
    info_.architecture = image_.architecture();
    info_.main_package = build_.main_package;
    info_.main_module = build_.main_module;
    info_.modules = build_.modules;
    info_.binary_hash = content_hash(image_, module_, build_);
    info_.build_id = build_id(image_);
    info_.pie = image_.position_independent();
    info_.stripped = image_.section(".symtab") == nullptr && !has_debug_info(image_);
    info_.text_address = module_.text;
    info_.text_end = module_.text_end;
    info_.data_address = module_.data;
    info_.data_end = module_.data_end;
    info_.bss_address = module_.bss;
    info_.bss_end = module_.bss_end;
    info_.segments = image_.segments();
  }

  base::Result<void> read_functions(const std::vector<std::string>& names) {
    FunctionTable table(image_, build_.go_version, module_);
    std::set<std::string_view> wanted(names.begin(), names.end());
    std::set<std::string_view> ambiguous;
    std::map<std::string_view, FunctionTable::Entry> entries;
    TRY(table.for_each([&](const FunctionTable::Entry& entry) {
      // The assembly that C calls Go through: linked into every program that uses cgo, and no
      // other.
      if (entry.name == "crosscall2") info_.cgo = true;
      if (wanted.contains(entry.name) && !entries.emplace(entry.name, entry).second)
        ambiguous.insert(entry.name);
    }));
    for (std::string_view name : wanted) {
      auto found = entries.find(name);
      if (found == entries.end())
        miss(FactKind::kFunction, name, kSymbolNotFound, "the program has no such function");
      else if (ambiguous.contains(name))
        miss(FactKind::kFunction, name, kSymbolNotFound, "several functions have this name");
      else if (auto function = table.read(found->second))
        info_.functions.emplace(name, *std::move(function));
      else
        miss(FactKind::kFunction, name, kSymbolNotFound, function.error().message);
    }
    return {};
  }

  base::Result<void> read_layouts(const FactRequest& request) {
    RuntimeTypes types(image_, build_.go_version, module_);
    std::vector<NamedField> fields;
    for (const std::string& text : std::set(request.fields.begin(), request.fields.end())) {
      if (auto name = parse_field_name(text))
        fields.push_back(NamedField{text, *std::move(name)});
      else
        miss(FactKind::kField, text, kLayoutMissing, "not the name of a field");
    }
    std::vector<TypeName> wanted{TypeName{false, "runtime", "moduledata"}};
    for (const NamedField& field : fields) wanted.push_back(field.name.type);
    for (const std::string& text : request.types)
      if (auto name = parse_type_name(text)) wanted.push_back(*std::move(name));
    types.find(wanted);
    TRY(check_module_data(types));

    read_fields(types, fields);
    for (const std::string& text : std::set(request.types.begin(), request.types.end())) {
      auto name = parse_type_name(text);
      auto descriptor = name ? types.descriptor(*name) : std::nullopt;
      if (descriptor)
        info_.types.emplace(text, *descriptor);
      else
        miss(FactKind::kType, text, kLayoutMissing, "the program has no descriptor of this type");
    }
    return {};
  }

  // The offsets that led here against the runtime's own description of its module data.
  base::Result<void> check_module_data(const RuntimeTypes& types) {
    TypeName type{false, "runtime", "moduledata"};
    if (!types.descriptor(type)) return {};
    auto value = [&](std::string field) -> std::optional<uint64_t> {
      auto found = types.field(FieldName{type, {std::move(field)}});
      return found ? image_.pointer(module_.address + found->offset) : std::nullopt;
    };
    if (value("text") != module_.text || value("etext") != module_.text_end ||
        value("types") != module_.types || value("etypes") != module_.types_end ||
        value("bss") != module_.bss)
      return base::failed_precondition(
          "LAYOUT_CONFLICT",
          "runtime.moduledata is laid out otherwise than in " + build_.go_version_text);
    return {};
  }

  void read_fields(const RuntimeTypes& types, const std::vector<NamedField>& fields) {
    DebugFields debug = read_debug_fields(image_, fields);
    info_.dwarf = debug.state;
    info_.dwarf_detail = debug.detail;
    for (const NamedField& named : fields) {
      auto field = types.field(named.name);
      auto second = debug.fields.find(named.text);
      if (!field) {
        miss(FactKind::kField, named.text, kLayoutMissing, field.error().message);
      } else if (second != debug.fields.end() && second->second != *field) {
        info_.dwarf = DwarfCheck::kConflicts;
        miss(
            FactKind::kField, named.text, kLayoutConflict,
            "type data says offset " + std::to_string(field->offset) + ", debug information " +
                std::to_string(second->second.offset));
      } else {
        info_.fields.emplace(named.text, *field);
      }
    }
  }

  void miss(FactKind kind, std::string_view name, std::string_view reason, std::string detail) {
    info_.missing.push_back(MissingFact{kind, std::string(name), reason, std::move(detail)});
  }

  const Image& image_;
  const BuildInfo& build_;
  const ModuleData& module_;
  BinaryInfo info_;
};

} // namespace

base::Result<BinaryInfo> analyse(Bytes file, const FactRequest& request) {
  if (request.functions.size() + request.fields.size() + request.types.size() > kRequestedFactsMax)
    return base::invalid_argument("TOO_MANY_FACTS", "one request may ask for 1024 facts");
  Image image = TRY(Image::parse(file));
  BuildInfo build = TRY(read_build_info(image));
  ModuleData module = TRY(find_module_data(image, build.go_version));
  return Analysis(image, build, module).run(request);
}

} // namespace agent::process
