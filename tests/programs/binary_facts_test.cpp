// What agent/process reads from real Go programs, over every supported version, stripped or not.
// The expected offsets are those of each version's own debug information.
#include "agent/process/analysis.h"
#include "base/fd.h"
#include "tests/programs/mapped_file.h"
#include "tests/programs/running_program.h"

#include <gtest/gtest.h>

namespace agent::process {
namespace {

FactRequest http_request() {
  return FactRequest{
      {"runtime.gopanic", "runtime.newproc1", "net/http.(*persistConn).roundTrip",
       "net/http.(*conn).serve", "net/http.no.such.function"},
      {"runtime.g.goid",
       "runtime.g.atomicstatus",
       "runtime.g.m",
       "runtime.g.stack.lo",
       "runtime.g.stack.hi",
       "runtime.g.sched.sp",
       "runtime.g.parentGoid",
       "runtime.g.gopc",
       "runtime.g.startpc",
       "runtime.m.curg",
       "runtime.m.p",
       "runtime.m.procid",
       "net/http.Request.Method",
       "net/http.Request.Host",
       "net/http.Request.ctx",
       "net/http.persistConn.conn",
       "net.netFD.pfd.Sysfd",
       "net/url.URL.RawQuery",
       "net/http.response.status",
       "runtime.g.no_such_field",
       "no/such.Type.field"},
      {"*net.TCPConn", "net/http.Request", "*no/such.Type"}};
}

struct Expectation {
  std::string version;
  int minor;
  uint64_t goid, atomicstatus, parent_goid, gopc, startpc, curg, p, procid, context, raw_query,
      status;
};

const Expectation kExpectations[] = {
    {"1.17", 17, 152, 144, 0, 296, 312, 192, 208, 72, 232, 96, 120},
    {"1.19", 19, 152, 144, 0, 296, 312, 192, 208, 72, 232, 96, 120},
    {"1.22", 22, 152, 144, 272, 280, 296, 192, 208, 72, 232, 96, 120},
    {"1.24", 24, 160, 152, 280, 288, 304, 192, 208, 72, 248, 96, 120},
    {"1.26", 26, 152, 144, 280, 288, 304, 184, 208, 64, 248, 88, 120},
    {"1.27", 27, 152, 144, 280, 288, 304, 184, 208, 64, 248, 88, 128},
};

BinaryInfo analysed(const std::string& path, const FactRequest& request = http_request()) {
  programs::MappedFile file(path);
  auto info = analyse(file.bytes(), request);
  EXPECT_TRUE(info.ok()) << path << ": " << (info ? "" : info.error().message);
  return info ? *info : BinaryInfo{};
}

class BinaryFacts : public testing::TestWithParam<std::tuple<Expectation, std::string>> {
 protected:
  void SetUp() override {
    const auto& [expected, program] = GetParam();
    if (auto why = programs::why_absent(expected.version, program); !why.empty())
      GTEST_SKIP() << why;
    info_ = analysed(programs::path_of(expected.version, program));
  }
  uint64_t offset(std::string_view field) const {
    const Field* found = info_.find_field(field);
    EXPECT_NE(found, nullptr) << field;
    return found == nullptr ? UINT64_MAX : found->offset;
  }
  BinaryInfo info_;
};

TEST_P(BinaryFacts, GivesTheOffsetsOfItsGoVersion) {
  const Expectation& expected = std::get<0>(GetParam());

  EXPECT_EQ(info_.go_version.major, 1);
  EXPECT_EQ(info_.go_version.minor, expected.minor);
  EXPECT_EQ(offset("runtime.g.goid"), expected.goid);
  EXPECT_EQ(offset("runtime.g.atomicstatus"), expected.atomicstatus);
  EXPECT_EQ(offset("runtime.g.stack.lo"), 0u);
  EXPECT_EQ(offset("runtime.g.stack.hi"), 8u);
  EXPECT_EQ(offset("runtime.g.m"), 48u);
  EXPECT_EQ(offset("runtime.g.sched.sp"), 56u);
  EXPECT_EQ(offset("runtime.g.gopc"), expected.gopc);
  EXPECT_EQ(offset("runtime.g.startpc"), expected.startpc);
  EXPECT_EQ(offset("runtime.m.curg"), expected.curg);
  EXPECT_EQ(offset("runtime.m.p"), expected.p);
  EXPECT_EQ(offset("runtime.m.procid"), expected.procid);
  EXPECT_EQ(offset("net/http.Request.Method"), 0u);
  EXPECT_EQ(offset("net/http.Request.Host"), 128u);
  EXPECT_EQ(offset("net/http.Request.ctx"), expected.context);
  EXPECT_EQ(offset("net/http.response.status"), expected.status);
  EXPECT_EQ(offset("net/url.URL.RawQuery"), expected.raw_query);
  EXPECT_EQ(info_.find_field("runtime.g.goid")->size, 8u);
  EXPECT_EQ(info_.find_field("runtime.g.atomicstatus")->size, 4u);
  EXPECT_NE(info_.find_field("net.netFD.pfd.Sysfd"), nullptr);
  EXPECT_NE(info_.find_field("net/http.persistConn.conn"), nullptr);
  if (expected.minor >= 21)
    EXPECT_EQ(offset("runtime.g.parentGoid"), expected.parent_goid);
  else
    EXPECT_EQ(info_.find_missing("runtime.g.parentGoid")->reason, "LAYOUT_MISSING");
}

TEST_P(BinaryFacts, FindsFunctionsAndWhereTheirProloguesEnd) {
  for (std::string_view name :
       {"runtime.gopanic", "net/http.(*persistConn).roundTrip", "net/http.(*conn).serve"}) {
    const Function* function = info_.find_function(name);
    ASSERT_NE(function, nullptr) << name;
    EXPECT_GE(function->address, info_.text_address);
    EXPECT_LT(function->address, info_.text_end);
    EXPECT_GT(function->size, 100u);
    ASSERT_GT(function->prologue_end, function->address) << name;
    ASSERT_LE(function->prologue_end - function->address, function->code.size()) << name;
    // The instruction that moves the stack pointer first: push %rbp from 1.21 on, sub before.
    size_t end = function->prologue_end - function->address;
    auto byte = [&](size_t back) { return static_cast<uint8_t>(function->code[end - back]); };
    if (info_.go_version.minor >= 21)
      EXPECT_EQ(byte(1), 0x55) << name;
    else
      EXPECT_TRUE((byte(4) == 0x48 && byte(3) == 0x83) || (byte(7) == 0x48 && byte(6) == 0x81))
          << name;
  }
}

TEST_P(BinaryFacts, FileOffsetsLeadToTheSameBytes) {
  const auto& [expected, program] = GetParam();
  programs::MappedFile file(programs::path_of(expected.version, program));

  for (const auto& [name, function] : info_.functions) {
    Bytes code = file.bytes().subspan(function.file_offset, function.code.size());
    EXPECT_EQ(function.code, std::string(code.begin(), code.end())) << name;
  }
}

TEST_P(BinaryFacts, KnowsTypesByTheirDescriptors) {
  const TypeDescriptor* connection = info_.find_type("*net.TCPConn");
  const TypeDescriptor* request = info_.find_type("net/http.Request");

  ASSERT_NE(connection, nullptr);
  EXPECT_EQ(connection->size, 8u);
  EXPECT_EQ(connection->address % 8, 0u);
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(
      request->size, info_.go_version.minor >= 23   ? 304u
                     : info_.go_version.minor == 22 ? 288u
                                                    : 248u);
}

TEST_P(BinaryFacts, ReportsEveryNameItDoesNotKnow) {
  ASSERT_NE(info_.find_missing("net/http.no.such.function"), nullptr);
  EXPECT_EQ(info_.find_missing("net/http.no.such.function")->reason, "SYMBOL_NOT_FOUND");
  EXPECT_EQ(info_.find_missing("runtime.g.no_such_field")->reason, "LAYOUT_MISSING");
  EXPECT_EQ(info_.find_missing("no/such.Type.field")->reason, "LAYOUT_MISSING");
  EXPECT_EQ(info_.find_missing("*no/such.Type")->reason, "LAYOUT_MISSING");
  FactRequest request = http_request();
  EXPECT_EQ(
      info_.functions.size() + info_.fields.size() + info_.types.size() + info_.missing.size(),
      request.functions.size() + request.fields.size() + request.types.size());
}

TEST_P(BinaryFacts, DescribesTheProgram) {
  const std::string& program = std::get<1>(GetParam());

  EXPECT_EQ(info_.main_module, "example.com/sonde/server");
  EXPECT_EQ(info_.main_package, "example.com/sonde/server");
  EXPECT_EQ(info_.architecture, Architecture::kAmd64);
  EXPECT_EQ(info_.stripped, program == "server-stripped");
  EXPECT_EQ(info_.pie, program == "server-pie");
  EXPECT_FALSE(info_.cgo);
  EXPECT_EQ(info_.binary_hash.size(), 64u);
  EXPECT_FALSE(info_.build_id.empty());
  EXPECT_LT(info_.bss_address, info_.bss_end);
  if (info_.stripped)
    EXPECT_EQ(info_.dwarf, DwarfCheck::kAbsent);
  else
    EXPECT_EQ(info_.dwarf, DwarfCheck::kAgrees) << info_.dwarf_detail;
}

std::vector<std::tuple<Expectation, std::string>> matrix() {
  std::vector<std::tuple<Expectation, std::string>> all;
  for (const Expectation& expected : kExpectations) {
    all.emplace_back(expected, "server");
    if (expected.minor != 19 && expected.minor != 24) all.emplace_back(expected, "server-stripped");
    if (expected.minor == 26) all.emplace_back(expected, "server-pie");
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, BinaryFacts, testing::ValuesIn(matrix()), [](const auto& instance) {
      std::string name =
          "go" + std::get<0>(instance.param).version + "_" + std::get<1>(instance.param);
      for (char& c : name)
        if (c == '.' || c == '-') c = '_';
      return name;
    });

class Twins : public testing::TestWithParam<std::string> {};

TEST_P(Twins, AStrippedProgramSaysTheSameAsItsTwin) {
  for (std::string_view program : {"server", "server-stripped"})
    if (auto why = programs::why_absent(GetParam(), program); !why.empty()) GTEST_SKIP() << why;

  BinaryInfo plain = analysed(programs::path_of(GetParam(), "server"));
  BinaryInfo stripped = analysed(programs::path_of(GetParam(), "server-stripped"));

  EXPECT_EQ(plain.fields, stripped.fields);
  EXPECT_EQ(plain.missing, stripped.missing);
  for (const auto& [name, function] : plain.functions)
    EXPECT_EQ(function.size, stripped.find_function(name)->size) << name;
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, Twins, testing::Values("1.17", "1.22", "1.26", "1.27"),
    [](const auto& instance) { return "go1_" + instance.param.substr(2); });

TEST(BinaryFactsOfCgo, ReadsExternallyLinkedProgramsWithCTextInFront) {
  for (auto [version, program] : {std::pair("1.26", "callbacks"), {"1.22", "callbacks-stripped"}}) {
    if (auto why = programs::why_absent(version, program); !why.empty()) GTEST_SKIP() << why;
    FactRequest request{
        {"runtime.gopanic", "main.sondeCallback"}, {"runtime.g.goid", "runtime.m.curg"}, {}};

    BinaryInfo info = analysed(programs::path_of(version, program), request);

    EXPECT_TRUE(info.cgo);
    EXPECT_EQ(info.fields.at("runtime.g.goid").offset, 152u);
    EXPECT_EQ(info.functions.size(), 2u);
    EXPECT_EQ(info.stripped, std::string_view(program) == "callbacks-stripped");
  }
}

TEST(BinaryFactsOfFrameworks, ListsTheModulesOfAProgram) {
  for (auto [program, module, version] :
       {std::tuple("gin", "github.com/gin-gonic/gin", "v1.10.0"),
        {"chi", "github.com/go-chi/chi/v5", "v5.2.1"},
        {"echo", "github.com/labstack/echo/v4", "v4.13.3"}}) {
    if (auto why = programs::why_absent("1.22", program); !why.empty()) GTEST_SKIP() << why;

    BinaryInfo info = analysed(programs::path_of("1.22", program));

    EXPECT_EQ(info.main_module, std::string("example.com/sonde/") + program);
    EXPECT_NE(
        std::find(info.modules.begin(), info.modules.end(), Module{module, version}),
        info.modules.end());
  }
}

} // namespace
} // namespace agent::process
