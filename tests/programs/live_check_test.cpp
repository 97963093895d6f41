// The live check against real processes: it accepts what is true, and refuses every fact that was
// changed.
#include "agent/process/analysis.h"
#include "agent/process/live_check.h"
#include "agent/process/proc_files.h"
#include "tests/programs/mapped_file.h"
#include "tests/programs/running_program.h"

#include <gtest/gtest.h>

namespace agent::process {
namespace {

using programs::RunningProgram;

GoProcess go_process(const RunningProgram& program, const std::string& path) {
  programs::MappedFile file(path);
  FactRequest request = merged(
      FactRequest{{"net/http.(*conn).serve", "runtime.gopanic"}, {}, {}}, live_check_facts());
  GoProcess process;
  process.process = *ProcFiles().read(static_cast<uint32_t>(program.pid()));
  process.binary = std::make_shared<BinaryInfo>(*analyse(file.bytes(), request));
  process.process.load_bias = *ProcFiles().load_bias(process.process.key, *process.binary);
  // As if it had run for long, once it is set up: a wrong fact is not waited for.
  auto checked = check_live(process);
  EXPECT_TRUE(checked.ok()) << (checked ? "" : checked.error().message);
  process.process.start_wall_ns = 0;
  return process;
}

class LiveCheck : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(LiveCheck, AcceptsEveryVersion) {
  const auto& [version, name] = GetParam();
  if (auto why = programs::why_absent(version, name); !why.empty()) GTEST_SKIP() << why;
  std::string path = programs::path_of(version, name);
  auto program = RunningProgram::start(path);
  ASSERT_TRUE(program.ok()) << program.error().message;
  GoProcess process = go_process(*program, path);

  auto checked = check_live(process);

  EXPECT_TRUE(checked.ok()) << (checked ? "" : checked.error().message);
}

TEST_P(LiveCheck, RefusesEveryOffsetThatIsWrong) {
  const auto& [version, name] = GetParam();
  if (auto why = programs::why_absent(version, name); !why.empty()) GTEST_SKIP() << why;
  std::string path = programs::path_of(version, name);
  auto program = RunningProgram::start(path);
  ASSERT_TRUE(program.ok()) << program.error().message;
  GoProcess process = go_process(*program, path);

  for (const char* field : {"runtime.g.m", "runtime.g.goid", "runtime.m.g0", "runtime.m.procid"}) {
    BinaryInfo changed = *process.binary;
    changed.fields.at(field).offset += 8;
    GoProcess suspect = process;
    suspect.binary = std::make_shared<BinaryInfo>(changed);

    auto checked = check_live(suspect);

    ASSERT_FALSE(checked.ok()) << field;
    EXPECT_EQ(checked.error().reason, "LAYOUT_CONFLICT") << field;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Matrix, LiveCheck,
    testing::Values(
        std::pair("1.17", "server-stripped"), std::pair("1.19", "server"),
        std::pair("1.22", "server-stripped"), std::pair("1.24", "server"),
        std::pair("1.26", "server-stripped"), std::pair("1.26", "server-pie"),
        std::pair("1.26", "callbacks"), std::pair("1.27", "server-stripped")),
    [](const auto& instance) {
      std::string name = "go" + instance.param.first + "_" + instance.param.second;
      for (char& c : name)
        if (c == '.' || c == '-') c = '_';
      return name;
    });

class LiveCheckOf126 : public testing::Test {
 protected:
  void SetUp() override {
    if (auto why = programs::why_absent("1.26", "server-stripped"); !why.empty())
      GTEST_SKIP() << why;
    std::string path = programs::path_of("1.26", "server-stripped");
    auto program = RunningProgram::start(path);
    ASSERT_TRUE(program.ok()) << program.error().message;
    program_.emplace(*std::move(program));
    process_ = go_process(*program_, path);
  }
  base::Result<void> check_with(const BinaryInfo& binary) {
    process_.binary = std::make_shared<BinaryInfo>(binary);
    return check_live(process_);
  }
  std::optional<RunningProgram> program_;
  GoProcess process_;
};

TEST_F(LiveCheckOf126, RefusesCodeThatIsNotTheFiles) {
  BinaryInfo changed = *process_.binary;
  changed.functions.at("runtime.gopanic").code[7] ^= 1;

  EXPECT_EQ(check_with(changed).error().reason, "LAYOUT_CONFLICT");
}

TEST_F(LiveCheckOf126, RefusesAWrongLoadBias) {
  process_.process.load_bias = 4096;

  EXPECT_EQ(check_live(process_).error().reason, "LAYOUT_CONFLICT");
}

TEST_F(LiveCheckOf126, SaysWhichFactIsMissing) {
  BinaryInfo changed = *process_.binary;
  changed.fields.erase("runtime.m.procid");

  auto checked = check_with(changed);

  EXPECT_EQ(checked.error().reason, "LAYOUT_MISSING");
  EXPECT_NE(checked.error().message.find("runtime.m.procid"), std::string::npos);
}

TEST_F(LiveCheckOf126, AProcessThatHasEndedIsGone) {
  program_->stop();

  EXPECT_EQ(check_live(process_).error().reason, "PROCESS_GONE");
}

} // namespace
} // namespace agent::process
