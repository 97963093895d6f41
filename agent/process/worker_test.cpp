// The worker as the agent runs it: this test program plays the agent, and re-executes itself as the
// worker.
#include "agent/process/analyzer.h"
#include "agent/process/confinement.h"
#include "agent/process/worker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>

namespace agent::process {
namespace {

// How a confined child ended that tried `act`: its wait status.
int status_after(const std::function<void()>& act) {
  pid_t child = fork();
  if (child == 0) {
    if (!drop_privileges(kAnalysisWorkerUser) || !confine(1 << 20)) _exit(99);
    act();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

bool killed_by(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }

TEST(Confinement, LeavesMemoryAndOpenDescriptors) {
  int status = status_after([] {
    std::string text(1 << 20, 'x');
    char byte = text[4711];
    if (write(STDERR_FILENO, &byte, 0) != 0) _exit(1);
  });

  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Confinement, KillsAProcessThatOpensAFile) {
  EXPECT_TRUE(killed_by(status_after([] { (void)open("/dev/null", O_RDONLY); }), SIGSYS));
}

TEST(Confinement, KillsAProcessThatOpensASocket) {
  EXPECT_TRUE(killed_by(status_after([] { (void)socket(AF_INET, SOCK_STREAM, 0); }), SIGSYS));
}

TEST(Confinement, KillsAProcessThatStartsAnother) {
  EXPECT_TRUE(killed_by(status_after([] { (void)fork(); }), SIGSYS));
  EXPECT_TRUE(killed_by(status_after([] { execl("/bin/true", "true", nullptr); }), SIGSYS));
}

TEST(Confinement, KillsAProcessThatMakesExecutableMemory) {
  EXPECT_TRUE(killed_by(
      status_after([] {
        (void)mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      }),
      SIGSYS));
}

TEST(Confinement, KillsAProcessThatSignalsOthers) {
  EXPECT_TRUE(killed_by(status_after([] { (void)kill(getppid(), 0); }), SIGSYS));
}

TEST(Confinement, EndsWithinItsMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(SONDE_SANITIZED)
  GTEST_SKIP() << "sanitizer";
#endif
  int status = status_after([] {
    void* bytes =
        mmap(nullptr, size_t{1} << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(bytes == MAP_FAILED ? 42 : 0);
  });

  EXPECT_EQ(WEXITSTATUS(status), 42);
}

class AnalyzerTest : public testing::Test {
 protected:
  base::Result<BinaryInfo> analyse(const std::string& path) {
    base::Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return analyzer_.analyse(file.get(), FactRequest{{"runtime.gopanic"}, {}, {}});
  }
  Analyzer analyzer_;
};

TEST_F(AnalyzerTest, SaysOfAnotherProgramThatItIsNotGo) {
  auto info = analyse("/bin/true");

  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.error().reason, "NOT_A_GO_PROGRAM") << info.error().message;
}

TEST_F(AnalyzerTest, RefusesWhatIsNoFile) {
  for (const char* path : {"/dev/null", "/tmp", "/proc/self/status"}) {
    auto info = analyse(path);

    ASSERT_FALSE(info.ok()) << path;
    EXPECT_EQ(info.error().reason, "NOT_A_GO_PROGRAM") << path << info.error().message;
  }
}

TEST_F(AnalyzerTest, TheWorkerRunsWithoutPrivileges) {
  (void)analyse("/bin/true");

  std::ifstream status("/proc/" + std::to_string(analyzer_.worker_pid()) + "/status");
  std::string text(std::istreambuf_iterator<char>(status), {});
  EXPECT_NE(text.find("\nCapEff:\t0000000000000000\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nCapPrm:\t0000000000000000\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nNoNewPrivs:\t1\n"), std::string::npos) << text;
  if (geteuid() == 0) {
    EXPECT_NE(text.find("\nUid:\t65534\t65534\t65534\t65534\n"), std::string::npos) << text;
  }
}

TEST_F(AnalyzerTest, StartsAnotherWorkerWhenOneWasKilled) {
  (void)analyse("/bin/true");
  pid_t first = analyzer_.worker_pid();
  kill(first, SIGKILL);

  auto info = analyse("/bin/true");

  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.error().reason, "NOT_A_GO_PROGRAM") << info.error().message;
  EXPECT_NE(analyzer_.worker_pid(), first);
}

} // namespace
} // namespace agent::process

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == agent::process::kAnalysisWorkerCommand)
    return agent::process::run_analysis_worker(agent::process::kAnalysisWorkerFd);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
