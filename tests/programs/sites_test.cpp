// The site engine on the prologues that every supported Go compiler really writes.
#include "agent/plan/frame.h"
#include "agent/plan/site.h"

#include "agent/process/analysis.h"
#include "tests/programs/mapped_file.h"
#include "tests/programs/running_program.h"

#include <gtest/gtest.h>

namespace agent::plan {
namespace {

// Functions that today's probes and tomorrow's are put on: small, large and huge frames.
const std::vector<std::string> kFunctions = {
    "runtime.gopanic",
    "runtime.newproc1",
    "runtime.gcStart",
    "runtime.chansend",
    "net/http.serverHandler.ServeHTTP",
    "net/http.(*conn).serve",
    "net/http.(*response).finishRequest",
    "net/http.(*persistConn).roundTrip",
    "net/http.(*persistConn).mapRoundTripError",
    "net/http.(*Transport).roundTrip",
    "net/http.(*Transport).queueForDial",
    "net/http.(*wantConn).cancel",
    "crypto/tls.(*Conn).Write",
    "crypto/tls.(*Conn).Read",
};

class Sites : public testing::TestWithParam<const char*> {};

TEST_P(Sites, AreEmulatedAndFoundInEveryFunctionThatIsProbed) {
  const std::string version = GetParam();
  if (auto why = programs::why_absent(version, "server"); !why.empty()) GTEST_SKIP() << why;
  const programs::MappedFile file(programs::path_of(version, "server"));
  auto info = process::analyse(file.bytes(), {kFunctions, {}, {}});
  ASSERT_TRUE(info.ok()) << info.error().message;
  const bool pushes = info->go_version >= process::GoVersion{1, 21, 0};
  size_t found = 0;
  for (const auto& name : kFunctions) {
    const auto* function = info->find_function(name);
    if (function == nullptr) continue;
    const std::span code(
        reinterpret_cast<const uint8_t*>(function->code.data()), function->code.size());

    auto site = find_site(code, function->size);

    ASSERT_TRUE(site.ok()) << name << ": " << site.error().message;
    EXPECT_EQ(site->kind, pushes ? SiteKind::kPush : SiteKind::kStackCheck) << name;
    EXPECT_EQ(site->filter_by_flags, !pushes) << name;
    EXPECT_LE(site->offset_bytes, 30U) << name;
    // The function table knows where the stack pointer has moved: behind the push, the same place.
    if (pushes) {
      EXPECT_EQ(function->address + site->offset_bytes + 1, function->prologue_end) << name;
    }
    EXPECT_TRUE(still_holds(*site, file.bytes().subspan(function->file_offset))) << name;
    ++found;
  }
  EXPECT_GE(found, 10U);
}

TEST_P(Sites, FindTheRequestOfACallInTheFrameOfItsRoundTrip) {
  const std::string version = GetParam();
  if (auto why = programs::why_absent(version, "server"); !why.empty()) GTEST_SKIP() << why;
  const programs::MappedFile file(programs::path_of(version, "server"));
  auto info = process::analyse(file.bytes(), {{"net/http.(*Transport).roundTrip"}, {}, {}});
  ASSERT_TRUE(info.ok()) << info.error().message;
  const auto* function = info->find_function("net/http.(*Transport).roundTrip");
  ASSERT_NE(function, nullptr);
  const std::span code(
      reinterpret_cast<const uint8_t*>(function->code.data()), function->code.size());

  EXPECT_TRUE(keeps_first_arguments(code).ok());
}

INSTANTIATE_TEST_SUITE_P(
    EveryGo, Sites, testing::Values("1.17", "1.19", "1.22", "1.24", "1.26", "1.27"),
    [](const auto& test) { return "Go1_" + std::string(test.param).substr(2); });

} // namespace
} // namespace agent::plan
