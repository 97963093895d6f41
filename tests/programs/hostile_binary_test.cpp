// Executables that lie, were cut off, or lost what tools can remove: clear errors, the same facts,
// never a crash.
#include "agent/process/analysis.h"
#include "agent/process/analyzer.h"
#include "agent/process/build_info.h"
#include "agent/process/live_check.h"
#include "agent/process/module_data.h"
#include "agent/process/runtime_types.h"
#include "tests/programs/mapped_file.h"
#include "tests/programs/running_program.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>

namespace agent::process {
namespace {

using Content = std::vector<uint8_t>;

FactRequest request() {
  return merged(
      FactRequest{{"runtime.gopanic"}, {"net/http.Request.Host"}, {"*net.TCPConn"}},
      live_check_facts());
}

const std::set<std::string_view> kReasons = {
    "NOT_A_GO_PROGRAM", "BINARY_UNSUPPORTED", "BINARY_MALFORMED", "LAYOUT_CONFLICT"};

class HostileBinary : public testing::Test {
 protected:
  void SetUp() override {
    for (std::string_view name : {"server", "server-stripped", "server-pie"})
      if (auto why = programs::why_absent("1.26", name); !why.empty()) GTEST_SKIP() << why;
  }
  static Content content_of(std::string_view name) {
    programs::MappedFile file(programs::path_of("1.26", name));
    return {file.bytes().begin(), file.bytes().end()};
  }
  static Elf64_Ehdr& header(Content& content) {
    return *reinterpret_cast<Elf64_Ehdr*>(content.data());
  }
  static size_t find(const Content& content, std::string_view text, size_t from = 0) {
    std::string_view bytes(reinterpret_cast<const char*>(content.data()), content.size());
    return std::min(bytes.find(text, from), bytes.size());
  }
};

TEST_F(HostileBinary, WithoutSectionHeadersSaysTheSame) {
  for (std::string_view name : {"server-stripped", "server-pie"}) {
    Content content = content_of(name);
    BinaryInfo before = *analyse(content, request());
    header(content).e_shoff = 0;
    header(content).e_shnum = 0;
    header(content).e_shstrndx = 0;

    auto after = analyse(content, request());

    ASSERT_TRUE(after.ok()) << after.error().message;
    EXPECT_EQ(after->functions, before.functions);
    EXPECT_EQ(after->fields, before.fields);
    EXPECT_EQ(after->types, before.types);
    EXPECT_EQ(after->go_version, before.go_version);
  }
}

TEST_F(HostileBinary, WithoutRelocatedContentSaysTheSame) {
  // Some linkers leave zeros where a relocation will write.
  Content content = content_of("server-pie");
  BinaryInfo before = *analyse(content, request());
  Image image = *Image::parse(content);
  const Image::Section* relocations = image.section(".rela");
  ASSERT_NE(relocations, nullptr);
  size_t zeroed = 0;
  for (size_t at = 0; at + sizeof(Elf64_Rela) <= relocations->content.size();
       at += sizeof(Elf64_Rela)) {
    Elf64_Rela entry;
    std::memcpy(&entry, relocations->content.data() + at, sizeof(entry));
    auto offset = image.file_offset(entry.r_offset);
    if (ELF64_R_TYPE(entry.r_info) != R_X86_64_RELATIVE || !offset) continue;
    std::memset(content.data() + *offset, 0, 8);
    ++zeroed;
  }
  ASSERT_GT(zeroed, 1000u);

  auto after = analyse(content, request());

  ASSERT_TRUE(after.ok()) << after.error().message;
  EXPECT_EQ(after->functions, before.functions);
  EXPECT_EQ(after->fields, before.fields);
  EXPECT_EQ(after->types, before.types);
}

TEST_F(HostileBinary, TruncatedAnywhereIsRefused) {
  Content content = content_of("server-stripped");
  Image image = *Image::parse(content);
  size_t last = 0;
  for (const LoadSegment& segment : image.segments())
    last = std::max<size_t>(last, segment.file_offset + segment.file_bytes);
  for (int part = 0; part < 64; ++part) {
    Content cut(content.begin(), content.begin() + static_cast<ptrdiff_t>((last - 1) * part / 64));

    auto info = analyse(cut, request());

    ASSERT_FALSE(info.ok()) << part;
    EXPECT_TRUE(kReasons.contains(info.error().reason)) << info.error().reason;
    EXPECT_FALSE(info.error().message.empty());
  }
}

TEST_F(HostileBinary, DamagedAnywhereNeverCrashes) {
  Content content = content_of("server-stripped");
  Image image = *Image::parse(content);
  ModuleData module = *find_module_data(image, GoVersion{1, 26, 8});
  struct Target {
    uint64_t offset, size;
  };
  const Target targets[] = {
      {0, 4096},
      {*image.file_offset(module.address), 592},
      {*image.file_offset(module.function_table), 4096},
      {*image.file_offset(module.function_table), module.function_table_bytes},
      {*image.file_offset(module.types), module.types_end - module.types},
      {*image.file_offset(module.type_links), module.type_link_count * 4},
      {header(content).e_shoff, content.size() - header(content).e_shoff},
      {find(content, "\xff Go buildinf:"), 512},
  };
  std::mt19937 random(4711);
  size_t refused = 0;
  for (int round = 0; round < 800; ++round) {
    const Target& target = targets[static_cast<size_t>(round) % std::size(targets)];
    std::vector<std::pair<size_t, uint8_t>> undo;
    for (int i = 0; i < 8; ++i) {
      size_t at = target.offset + random() % target.size;
      undo.emplace_back(at, content[at]);
      constexpr uint8_t kValues[] = {0, 1, 0x7f, 0x80, 0xff};
      content[at] = random() % 2 ? static_cast<uint8_t>(random()) : kValues[random() % 5];
    }

    auto info = analyse(content, request());

    if (!info) {
      ++refused;
      EXPECT_TRUE(kReasons.contains(info.error().reason)) << info.error().reason;
    }
    for (auto entry = undo.rbegin(); entry != undo.rend(); ++entry)
      content[entry->first] = entry->second;
  }
  EXPECT_GT(refused, 100u);
}

TEST_F(HostileBinary, OtherVersionsOfGoAreRefusedByName) {
  Content content = content_of("server-stripped");
  for (std::string_view version : {"go1.16.8", "go1.28.1", "devel #1", "go2.26.8"}) {
    Content changed = content;
    size_t at = find(changed, "go1.26.8", find(changed, "\xff Go buildinf:"));
    ASSERT_LT(at, changed.size());
    std::memcpy(changed.data() + at, version.data(), version.size());

    auto info = analyse(changed, request());

    ASSERT_FALSE(info.ok());
    EXPECT_EQ(info.error().reason, "BINARY_UNSUPPORTED") << version;
    EXPECT_NE(info.error().message.find(version), std::string::npos) << info.error().message;
  }
}

TEST_F(HostileBinary, AVersionThatIsNotItsOwnIsRefused) {
  // 1.24's module data is laid out otherwise.
  Content content = content_of("server-stripped");
  size_t at = find(content, "go1.26.8", find(content, "\xff Go buildinf:"));
  ASSERT_LT(at, content.size());
  std::memcpy(content.data() + at, "go1.24.8", 8);

  auto info = analyse(content, request());

  ASSERT_FALSE(info.ok());
  EXPECT_TRUE(
      info.error().reason == "BINARY_MALFORMED" || info.error().reason == "LAYOUT_CONFLICT");
}

TEST_F(HostileBinary, ADisagreementWithDebugInformationIsAConflict) {
  Content content = content_of("server");
  Image image = *Image::parse(content);
  GoVersion version{1, 26, 8};
  ModuleData module = *find_module_data(image, version);
  RuntimeTypes types(image, version, module);
  TypeName g{false, "runtime", "g"};
  types.find(std::vector<TypeName>{g});
  uint64_t fields = *image.pointer(types.descriptor(g)->address + 56);
  uint64_t count = *image.u64(types.descriptor(g)->address + 64);
  uint64_t goid = types.field(FieldName{g, {"goid"}})->offset;
  for (uint64_t i = 0; i < count; ++i)
    if (*image.u64(fields + i * 24 + 16) == goid)
      content[*image.file_offset(fields + i * 24 + 16)] += 8;

  auto info = analyse(content, request());

  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->dwarf, DwarfCheck::kConflicts);
  EXPECT_EQ(info->find_field("runtime.g.goid"), nullptr);
  ASSERT_NE(info->find_missing("runtime.g.goid"), nullptr);
  EXPECT_EQ(info->find_missing("runtime.g.goid")->reason, "LAYOUT_CONFLICT");
  EXPECT_NE(info->find_field("runtime.g.m"), nullptr);
}

TEST_F(HostileBinary, DamagedDebugInformationLeavesTheRest) {
  Content content = content_of("server");
  Image image = *Image::parse(content);
  const Image::Section* debug = image.section(".debug_info");
  ASSERT_NE(debug, nullptr);
  auto offset = static_cast<size_t>(debug->content.data() - content.data());
  std::mt19937 random(4711);
  for (int round = 0; round < 20; ++round) {
    Content damaged = content;
    for (int i = 0; i < 64; ++i)
      damaged[offset + random() % debug->content.size()] = static_cast<uint8_t>(random());

    auto info = analyse(damaged, request());

    ASSERT_TRUE(info.ok()) << info.error().message;
    EXPECT_NE(info->dwarf, DwarfCheck::kAbsent);
    EXPECT_NE(info->find_function("runtime.gopanic"), nullptr);
  }
}

TEST(AWorkerThatIsNone, FailsThatAnalysisAlone) {
  for (const char* worker : {"/bin/true", "/bin/false", "/no/such/program"}) {
    Analyzer analyzer(worker);
    base::Fd file(open("/bin/true", O_RDONLY | O_CLOEXEC));

    auto info = analyzer.analyse(file.get(), request());

    ASSERT_FALSE(info.ok());
    EXPECT_TRUE(info.error().reason == "ANALYSIS_FAILED" || info.error().reason == "SYSTEM_ERROR")
        << info.error().reason << info.error().message;
  }
}

} // namespace
} // namespace agent::process
