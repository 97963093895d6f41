// What a Go executable says about itself: the facts that probes are planned from. Plain values, no
// threads, no I/O. A fact that could not be read is absent and listed in `missing` with its reason;
// nothing here is a guess.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace agent::process {

// "go1.22.12" → {1, 22, 12}; "go1.21rc2" → {1, 21, 0}.
struct GoVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;
  auto operator<=>(const GoVersion&) const = default;
};

enum class Architecture : uint8_t { kAmd64, kArm64 };

struct Module {
  std::string path;    // "github.com/gin-gonic/gin"
  std::string version; // "v1.9.1", "(devel)"; of the replacement, when there is one
  bool operator==(const Module&) const = default;
};

// One PT_LOAD: how an address in the file's own view (before the load bias) becomes a file offset.
struct LoadSegment {
  uint64_t address = 0;
  uint64_t memory_bytes = 0;
  uint64_t file_offset = 0;
  uint64_t file_bytes = 0;
  bool executable = false;
  bool writable = false;
  bool operator==(const LoadSegment&) const = default;
};

struct Function {
  uint64_t address = 0;     // entry, in the file's own view
  uint64_t file_offset = 0; // of the entry: what a uprobe is attached by
  uint64_t size = 0;        // bytes to the next function in the table; padding included
  // Address where the stack pointer has moved for the first time, from the pc→sp table: the
  // instruction before it is the site behind the stack check. 0: the function has no frame.
  uint64_t prologue_end = 0;
  std::string code; // first bytes, at most kFunctionCodeBytesMax
  bool operator==(const Function&) const = default;
};

struct Field {
  uint64_t offset = 0; // bytes from the start of the struct that the name begins with
  uint64_t size = 0;   // bytes of the field itself
  bool operator==(const Field&) const = default;
};

struct TypeDescriptor {
  uint64_t address = 0; // what an interface value's type word points to, less the load bias
  uint64_t size = 0;    // of a value of this type
  bool operator==(const TypeDescriptor&) const = default;
};

// Which facts a caller wants. Packages are named by their full import path, dots in its last
// element written as %2e, as Go's own symbols are: "net/http.(*persistConn).roundTrip",
// "gopkg.in/yaml%2ev3.Node.Kind".
struct FactRequest {
  std::vector<std::string> functions; // "runtime.gopanic", "net/http.(*response).finishRequest"
  // Package, struct, and a path of fields inside it, through structs held by value:
  // "runtime.g.goid", "runtime.g.sched.sp", "net.netFD.pfd.Sysfd". Embedded structs go by their
  // type's name.
  std::vector<std::string> fields;
  std::vector<std::string> types; // "net.TCPConn", "*net.TCPConn"
  bool operator==(const FactRequest&) const = default;
};

enum class FactKind : uint8_t { kFunction, kField, kType };

struct MissingFact {
  FactKind kind = FactKind::kFunction;
  std::string name;
  // SYMBOL_NOT_FOUND (functions), LAYOUT_MISSING (fields, types) or LAYOUT_CONFLICT (two sources
  // inside the binary disagree). A string literal.
  std::string_view reason;
  std::string detail; // a sentence for people
  bool operator==(const MissingFact&) const = default;
};

// Whether the debug information was held against the runtime's own type descriptors.
enum class DwarfCheck : uint8_t {
  kAbsent,     // there is none: stripped
  kAgrees,     // every requested struct that both know has equal offsets
  kConflicts,  // see `missing`
  kNotChecked, // too large for the worker, or unreadable; see dwarf_detail
};

struct BinaryInfo {
  std::string go_version_text; // "go1.26.8 X:nogreenteagc", as the linker wrote it
  GoVersion go_version;
  Architecture architecture = Architecture::kAmd64;
  std::string main_package; // "example.com/shop/cmd/checkout"
  std::string main_module;  // "example.com/shop"; empty when built without modules
  std::vector<Module> modules;
  // SHA-256 (hexadecimal) over the executable segments, the function table, the type data and the
  // build information. Identifies the program; the build id below is only a label that two programs
  // may share.
  std::string binary_hash;
  std::string build_id;
  bool pie = false;
  bool cgo = false;
  bool stripped = false; // no symbol table and no DWARF
  DwarfCheck dwarf = DwarfCheck::kAbsent;
  std::string dwarf_detail;
  uint64_t text_address = 0; // Go's own text, which with cgo is not all of .text
  uint64_t text_end = 0;
  uint64_t data_address =
      0; // variables that hold pointers, in the file's own view; the live check looks there
  uint64_t data_end = 0;
  uint64_t bss_address = 0; // … and those that are zero at start
  uint64_t bss_end = 0;
  std::vector<LoadSegment> segments; // ascending by address

  std::map<std::string, Function, std::less<>> functions;
  std::map<std::string, Field, std::less<>> fields;
  std::map<std::string, TypeDescriptor, std::less<>> types;
  std::vector<MissingFact> missing; // each requested name is in one of these four, once

  // nullptr when absent; the pointer lives as long as this value.
  const Function* find_function(std::string_view name) const;
  const Field* find_field(std::string_view name) const;
  const TypeDescriptor* find_type(std::string_view name) const;
  const MissingFact* find_missing(std::string_view name) const;

  bool operator==(const BinaryInfo&) const = default;
};

// "amd64", "arm64", as GOARCH.
std::string_view name_of(Architecture architecture);

} // namespace agent::process
