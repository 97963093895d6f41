#include "agent/process/build_info.h"

#include "agent/process/limits.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace agent::process {
namespace {

constexpr std::string_view kMagic = "\xff Go buildinf:";
constexpr uint64_t kAlignment = 16;
constexpr uint64_t kHeaderBytes = 32;
constexpr uint8_t kFlagBigEndian = 1;
constexpr uint8_t kFlagInline = 2;
// The module text stands between two sentinels of this many bytes.
constexpr size_t kSentinelBytes = 16;

constexpr GoVersion kOldest{1, 17, 0};
constexpr GoVersion kNewest{1, 27, INT32_MAX};

std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Without section headers it is where the linker puts it: at the start of a writable segment. A
// section of that name comes first, and no search goes further than Go's own does.
std::optional<uint64_t> find_header(const Image& image) {
  auto search = [](uint64_t address, Bytes content) -> std::optional<uint64_t> {
    Bytes window = content.first(std::min<size_t>(content.size(), kBuildInfoBytesMax));
    for (uint64_t at = (kAlignment - address % kAlignment) % kAlignment;
         at + kHeaderBytes <= window.size(); at += kAlignment)
      if (std::memcmp(window.data() + at, kMagic.data(), kMagic.size()) == 0) return address + at;
    return std::nullopt;
  };
  if (const Image::Section* section = image.section(".go.buildinfo"))
    if (auto found = search(section->address, section->content)) return found;
  for (const LoadSegment& segment : image.segments())
    if (segment.writable)
      if (auto found = search(segment.address, image.read_to_end(segment.address))) return found;
  return std::nullopt;
}

std::optional<std::string_view> take_inline_text(Bytes& bytes) {
  auto length = take_varint(bytes);
  if (!length || *length > kBuildInfoBytesMax) return std::nullopt;
  auto text = slice(bytes, 0, *length);
  if (!text) return std::nullopt;
  bytes = bytes.subspan(*length);
  return as_text(*text);
}

std::optional<std::string_view> go_string_at(const Image& image, uint64_t address) {
  auto data = image.pointer(address);
  auto length = image.u64(address + 8);
  if (!data || !length || *length > kBuildInfoBytesMax) return std::nullopt;
  if (*length == 0) return std::string_view();
  auto text = image.read(*data, *length);
  return text ? std::optional(as_text(*text)) : std::nullopt;
}

void read_modules(std::string_view text, BuildInfo& info) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    auto take_word = [&line] {
      std::string_view word = line.substr(0, line.find('\t'));
      line.remove_prefix(std::min(line.size(), word.size() + 1));
      return std::string(word);
    };
    std::string kind = take_word();
    if (kind == "path") {
      info.main_package = take_word();
    } else if (kind == "mod" || kind == "dep") {
      Module module{take_word(), take_word()};
      if (kind == "mod") info.main_module = module.path;
      if (info.modules.size() < kModulesMax) info.modules.push_back(std::move(module));
    } else if (kind == "=>" && !info.modules.empty()) {
      take_word();
      info.modules.back().version = take_word();
    }
  }
}

} // namespace

std::optional<GoVersion> parse_go_version(std::string_view text) {
  if (text.substr(0, 2) != "go") return std::nullopt;
  text.remove_prefix(2);
  GoVersion version;
  auto take_number = [&text](int& number) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return true;
  };
  if (!take_number(version.major) || text.empty() || text.front() != '.') return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(version.minor)) return std::nullopt;
  if (!text.empty() && text.front() == '.') {
    text.remove_prefix(1);
    if (!take_number(version.patch)) return std::nullopt;
  }
  return version;
}

base::Result<BuildInfo> read_build_info(const Image& image) {
  auto address = find_header(image);
  if (!address) return not_go("it has no Go build information");
  // The section may lie elsewhere in the file than in memory only by a lie: read by address.
  auto header = image.read(*address, kHeaderBytes);
  if (!header || std::memcmp(header->data(), kMagic.data(), kMagic.size()) != 0)
    return malformed("the Go build information is not mapped");
  uint8_t pointer_bytes = (*header)[14];
  uint8_t flags = (*header)[15];
  std::optional<std::string_view> version;
  std::optional<std::string_view> modules;
  if ((flags & kFlagInline) != 0) {
    Bytes rest = image.read_to_end(*address + kHeaderBytes);
    version = take_inline_text(rest);
    if (version) modules = take_inline_text(rest);
  } else if (pointer_bytes == 8 && (flags & kFlagBigEndian) == 0) {
    auto version_at = image.pointer(*address + 16);
    auto modules_at = image.pointer(*address + 24);
    if (version_at && modules_at) {
      version = go_string_at(image, *version_at);
      modules = *modules_at == 0 ? std::string_view() : go_string_at(image, *modules_at);
    }
  }
  if (!version) return malformed("the Go build information cannot be read");
  if (!modules) modules = std::string_view();

  BuildInfo info;
  info.raw = std::string(*version) + '\n' + std::string(*modules);
  info.go_version_text = std::string(version->substr(0, kNameBytesMax));
  auto parsed = parse_go_version(*version);
  if (!parsed)
    return unsupported("built by \"" + info.go_version_text + "\", which is no release of Go");
  info.go_version = *parsed;
  if (info.go_version < kOldest || info.go_version > kNewest)
    return unsupported("built by " + info.go_version_text + "; Go 1.17 to 1.27 are supported");
  if (modules->size() >= 2 * kSentinelBytes)
    read_modules(modules->substr(kSentinelBytes, modules->size() - 2 * kSentinelBytes), info);
  return info;
}

} // namespace agent::process
