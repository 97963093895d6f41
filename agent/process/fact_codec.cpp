#include "agent/process/fact_codec.h"

#include "agent/process/limits.h"
#include "base/hex.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

namespace agent::process {
namespace {

// Raised whenever analysis reads more, or reads something otherwise: facts on disk are then read
// anew.
constexpr uint64_t kFormatVersion = 1;
// No Go struct that a probe reads comes near.
constexpr uint64_t kStructBytesMax = 1 << 24;

// The reasons that may pass; they must be literals, because errors point to them.
constexpr std::array<std::string_view, 9> kReasons = {
    "SYMBOL_NOT_FOUND", "LAYOUT_MISSING",     "LAYOUT_CONFLICT",
    "NOT_A_GO_PROGRAM", "BINARY_UNSUPPORTED", "BINARY_MALFORMED",
    "ANALYSIS_FAILED",  "TOO_MANY_FACTS",     "SYSTEM_ERROR"};

std::string_view literal(std::string_view reason) {
  auto found = std::find(kReasons.begin(), kReasons.end(), reason);
  return found == kReasons.end() ? "ANALYSIS_FAILED" : *found;
}

base::Error bad_answer(std::string message) {
  return base::internal("the answer of the analysis " + std::move(message));
}

class Writer {
 public:
  Writer& number(uint64_t value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Writer& text(std::string_view value) {
    number(value.size());
    bytes_.append(value);
    return *this;
  }
  Writer& texts(const std::vector<std::string>& values) {
    number(values.size());
    for (const std::string& value : values) text(value);
    return *this;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Once something does not fit, everything after it reads as zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  uint64_t number() {
    uint64_t value = 0;
    std::string_view raw = take(sizeof(value));
    if (raw.size() == sizeof(value)) std::memcpy(&value, raw.data(), sizeof(value));
    return value;
  }
  uint64_t number_below(uint64_t limit) {
    uint64_t value = number();
    if (value >= limit) ok_ = false;
    return ok_ ? value : 0;
  }
  std::string text(size_t limit = kNameBytesMax) {
    return std::string(take(number_below(limit + 1)));
  }
  std::vector<std::string> texts(uint64_t limit) {
    std::vector<std::string> values(number_below(limit + 1));
    for (std::string& value : values) value = text();
    return values;
  }
  bool ok() const { return ok_; }
  bool finished() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view take(uint64_t size) {
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  std::string_view bytes_;
  bool ok_ = true;
};

void write(Writer& out, const BinaryInfo& info) {
  out.text(info.go_version_text)
      .number(static_cast<uint64_t>(info.go_version.major))
      .number(static_cast<uint64_t>(info.go_version.minor))
      .number(static_cast<uint64_t>(info.go_version.patch))
      .number(static_cast<uint64_t>(info.architecture))
      .text(info.main_package)
      .text(info.main_module);
  out.number(info.modules.size());
  for (const Module& module : info.modules) out.text(module.path).text(module.version);
  out.text(info.binary_hash).text(info.build_id);
  out.number(info.pie).number(info.cgo).number(info.stripped);
  out.number(static_cast<uint64_t>(info.dwarf)).text(info.dwarf_detail);
  for (uint64_t address :
       {info.text_address, info.text_end, info.data_address, info.data_end, info.bss_address,
        info.bss_end})
    out.number(address);
  out.number(info.segments.size());
  for (const LoadSegment& segment : info.segments)
    out.number(segment.address)
        .number(segment.memory_bytes)
        .number(segment.file_offset)
        .number(segment.file_bytes)
        .number(segment.executable)
        .number(segment.writable);
  out.number(info.functions.size());
  for (const auto& [name, function] : info.functions)
    out.text(name)
        .number(function.address)
        .number(function.file_offset)
        .number(function.size)
        .number(function.prologue_end)
        .text(function.code);
  out.number(info.fields.size());
  for (const auto& [name, field] : info.fields)
    out.text(name).number(field.offset).number(field.size);
  out.number(info.types.size());
  for (const auto& [name, type] : info.types) out.text(name).number(type.address).number(type.size);
  out.number(info.missing.size());
  for (const MissingFact& fact : info.missing)
    out.number(static_cast<uint64_t>(fact.kind))
        .text(fact.name)
        .text(fact.reason)
        .text(fact.detail);
}

void read_facts(Reader& in, BinaryInfo& info) {
  for (uint64_t n = in.number_below(kRequestedFactsMax + 1); n > 0 && in.ok(); --n) {
    std::string name = in.text();
    Function function{in.number(), in.number(), in.number(), in.number(), {}};
    function.code = in.text(kFunctionCodeBytesMax);
    info.functions.emplace(std::move(name), std::move(function));
  }
  for (uint64_t n = in.number_below(kRequestedFactsMax + 1); n > 0 && in.ok(); --n) {
    std::string name = in.text();
    info.fields.emplace(std::move(name), Field{in.number(), in.number()});
  }
  for (uint64_t n = in.number_below(kRequestedFactsMax + 1); n > 0 && in.ok(); --n) {
    std::string name = in.text();
    info.types.emplace(std::move(name), TypeDescriptor{in.number(), in.number()});
  }
  for (uint64_t n = in.number_below(kRequestedFactsMax + 1); n > 0 && in.ok(); --n) {
    MissingFact fact;
    fact.kind = static_cast<FactKind>(in.number_below(3));
    fact.name = in.text();
    fact.reason = literal(in.text());
    fact.detail = in.text();
    info.missing.push_back(std::move(fact));
  }
}

BinaryInfo read(Reader& in) {
  BinaryInfo info;
  info.go_version_text = in.text();
  info.go_version.major = static_cast<int>(in.number_below(1000));
  info.go_version.minor = static_cast<int>(in.number_below(1000));
  info.go_version.patch = static_cast<int>(in.number_below(1000));
  info.architecture = static_cast<Architecture>(in.number_below(2));
  info.main_package = in.text();
  info.main_module = in.text();
  for (uint64_t n = in.number_below(kModulesMax + 1); n > 0 && in.ok(); --n) {
    std::string path = in.text();
    info.modules.push_back(Module{std::move(path), in.text()});
  }
  info.binary_hash = in.text(64);
  info.build_id = in.text();
  info.pie = in.number_below(2) != 0;
  info.cgo = in.number_below(2) != 0;
  info.stripped = in.number_below(2) != 0;
  info.dwarf = static_cast<DwarfCheck>(in.number_below(4));
  info.dwarf_detail = in.text();
  for (uint64_t* address :
       {&info.text_address, &info.text_end, &info.data_address, &info.data_end, &info.bss_address,
        &info.bss_end})
    *address = in.number();
  for (uint64_t n = in.number_below(kSegmentsMax + 1); n > 0 && in.ok(); --n) {
    LoadSegment segment{in.number(), in.number(), in.number(), in.number(), false, false};
    segment.executable = in.number_below(2) != 0;
    segment.writable = in.number_below(2) != 0;
    info.segments.push_back(segment);
  }
  read_facts(in, info);
  return info;
}

bool segments_are_plausible(const BinaryInfo& info, uint64_t file_bytes) {
  uint64_t end = 0;
  for (const LoadSegment& segment : info.segments) {
    if (segment.address < end || segment.memory_bytes > UINT64_MAX - segment.address) return false;
    if (segment.file_bytes > segment.memory_bytes || segment.file_offset > file_bytes ||
        segment.file_bytes > file_bytes - segment.file_offset)
      return false;
    end = segment.address + segment.memory_bytes;
  }
  return !info.segments.empty();
}

bool function_is_plausible(const BinaryInfo& info, const Function& function) {
  if (function.code.size() > function.size) return false;
  if (function.prologue_end != 0 && (function.prologue_end < function.address ||
                                     function.prologue_end - function.address > function.size))
    return false;
  for (const LoadSegment& segment : info.segments)
    if (segment.executable && function.address >= segment.address &&
        function.address - segment.address < segment.file_bytes &&
        function.code.size() <= segment.file_bytes - (function.address - segment.address))
      return function.file_offset == segment.file_offset + (function.address - segment.address);
  return false;
}

bool range_is_mapped(const BinaryInfo& info, uint64_t address, uint64_t end) {
  for (const LoadSegment& segment : info.segments)
    if (address >= segment.address && end >= address &&
        end - segment.address <= segment.memory_bytes)
      return true;
  return false;
}

base::Result<void> check(const BinaryInfo& info, const FactRequest& request, uint64_t file_bytes) {
  if (!segments_are_plausible(info, file_bytes)) return bad_answer("has impossible segments");
  auto parsed_hash = base::from_hex(info.binary_hash);
  if (!parsed_hash || parsed_hash->size() != 32) return bad_answer("has no hash");
  if (!range_is_mapped(info, info.text_address, info.text_end) ||
      !range_is_mapped(info, info.data_address, info.data_end) ||
      !range_is_mapped(info, info.bss_address, info.bss_end))
    return bad_answer("has text or data that is not mapped");
  auto all_requested = [](const auto& facts, const std::vector<std::string>& names) {
    std::set<std::string_view> wanted(names.begin(), names.end());
    return std::all_of(
        facts.begin(), facts.end(), [&](const auto& fact) { return wanted.contains(fact.first); });
  };
  if (!all_requested(info.functions, request.functions) ||
      !all_requested(info.fields, request.fields) || !all_requested(info.types, request.types))
    return bad_answer("has facts that nobody asked for");
  for (const auto& [name, function] : info.functions)
    if (!function_is_plausible(info, function)) return bad_answer("has an impossible " + name);
  for (const auto& [name, field] : info.fields)
    if (field.offset > kStructBytesMax || field.size > kStructBytesMax)
      return bad_answer("has an impossible " + name);
  for (const auto& [name, type] : info.types)
    if (!range_is_mapped(info, type.address, type.address)) return bad_answer("maps no " + name);
  return {};
}

} // namespace

std::string encode(const FactRequest& request) {
  return Writer()
      .number(kFormatVersion)
      .texts(request.functions)
      .texts(request.fields)
      .texts(request.types)
      .take();
}

base::Result<FactRequest> decode_request(std::string_view bytes) {
  Reader in(bytes);
  uint64_t version = in.number();
  FactRequest request;
  request.functions = in.texts(kRequestedFactsMax);
  request.fields = in.texts(kRequestedFactsMax);
  request.types = in.texts(kRequestedFactsMax);
  if (!in.finished() || version != kFormatVersion)
    return base::invalid_argument("ANALYSIS_FAILED", "the request for facts cannot be read");
  return request;
}

std::string encode(const base::Result<BinaryInfo>& result) {
  Writer out;
  out.number(kFormatVersion).number(result.ok());
  if (result) {
    write(out, *result);
  } else {
    out.number(static_cast<uint64_t>(result.error().code))
        .text(result.error().reason)
        .text(std::string_view(result.error().message).substr(0, kNameBytesMax));
  }
  return out.take();
}

base::Result<BinaryInfo>
decode_result(std::string_view bytes, const FactRequest& request, uint64_t file_bytes) {
  Reader in(bytes);
  if (in.number() != kFormatVersion) return bad_answer("is in another format");
  if (in.number_below(2) == 0) {
    auto code = static_cast<base::Code>(in.number_below(17));
    std::string reason = in.text();
    std::string message = in.text();
    if (!in.finished()) return bad_answer("is cut off");
    return base::Error{code, literal(reason), std::move(message), {}};
  }
  BinaryInfo info = read(in);
  if (!in.finished()) return bad_answer("is cut off or too long");
  TRY(check(info, request, file_bytes));
  return info;
}

std::string request_hash(const FactRequest& request) {
  return base::to_hex(base::sha256(encode(request)));
}

} // namespace agent::process
