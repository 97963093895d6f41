// A stripped Go program of 140 MB: what its analysis costs.
#include "agent/process/analysis.h"
#include "agent/process/analyzer.h"
#include "agent/process/live_check.h"
#include "agent/process/worker.h"
#include "tests/programs/mapped_file.h"
#include "tests/programs/running_program.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>

namespace agent::process {
namespace {

constexpr uint64_t kProgramBytes = 140'000'000;
constexpr uint64_t kAnonymousBytes = 50 << 20;

class LargeBinary : public testing::Test {
 protected:
  void SetUp() override {
    if (auto why = programs::why_absent("1.26", "large-stripped"); !why.empty())
      GTEST_SKIP() << why;
  }
  const std::string path_ = programs::path_of("1.26", "large-stripped");
  const FactRequest request_ = merged(
      FactRequest{
          {"runtime.gopanic", "net/http.(*conn).serve"},
          {"net/http.Request.Host", "net.netFD.pfd.Sysfd"},
          {"*net.TCPConn"}},
      live_check_facts());
};

TEST_F(LargeBinary, IsAnalysedInTime) {
  base::Fd file(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  ASSERT_EQ(fstat(file.get(), &status), 0);
  ASSERT_GE(static_cast<uint64_t>(status.st_size), kProgramBytes);
  Analyzer analyzer;
  // The best of some: what else runs on this machine is not what is measured.
  auto best = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 5; ++round) {
    auto before = std::chrono::steady_clock::now();
    auto info = analyzer.analyse(file.get(), request_);
    best = std::min(best, std::chrono::steady_clock::now() - before);
    ASSERT_TRUE(info.ok()) << info.error().message;
    for (const MissingFact& fact : info->missing) ADD_FAILURE() << fact.name << fact.detail;
  }
  auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(best).count();

  // Half a second is the promise, and 150 ms are usual; on a loaded machine only the order can be
  // held.
  RecordProperty("milliseconds", std::to_string(milliseconds));
  std::cout << "best of five: " << milliseconds << " ms\n";
  EXPECT_LE(milliseconds, 5'000);
}

TEST_F(LargeBinary, IsAnalysedWithin50MegabytesOfPrivateMemory) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "sanitizer";
#endif
  pid_t child = fork();
  if (child == 0) {
    // The kernel counts every private writable mapping, used or not: a stricter measure than what
    // is resident.
    rlimit limit{kAnonymousBytes, kAnonymousBytes};
    setrlimit(RLIMIT_DATA, &limit);
    programs::MappedFile file(path_);
    auto info = analyse(file.bytes(), request_);
    _exit(info && info->missing.empty() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);

  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

} // namespace
} // namespace agent::process

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == agent::process::kAnalysisWorkerCommand)
    return agent::process::run_analysis_worker(agent::process::kAnalysisWorkerFd);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
