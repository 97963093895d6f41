#include "agent/process/proc_files.h"

#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

namespace agent::process {
namespace {

const std::string kId(64, 'a');

TEST(ControlGroups, KnowContainersOfEveryRuntime) {
  for (const std::string& line :
       {"0::/system.slice/docker-" + kId + ".scope\n", "12:pids:/docker/" + kId + "\n0::/\n",
        "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/"
        "cri-containerd-" +
            kId + ".scope\n",
        "0::/kubepods/burstable/pod12/" + kId + "\n",
        "0::/machine.slice/libpod-" + kId + ".scope/container\n",
        "0::/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + kId})
    EXPECT_EQ(parse_cgroup(line).container_id, kId) << line;
}

TEST(ControlGroups, KnowUnits) {
  EXPECT_EQ(parse_cgroup("0::/system.slice/checkout.service\n").unit, "checkout.service");
  EXPECT_EQ(parse_cgroup("0::/system.slice/checkout.service\n").container_id, "");
  EXPECT_EQ(parse_cgroup("0::/user.slice/user-0.slice/session-1.scope\n").unit, "");
  EXPECT_EQ(parse_cgroup("0::/\n").unit, "");
  EXPECT_EQ(parse_cgroup("nonsense").unit, "");
}

TEST(StatLines, AreReadBehindNamesWithParentheses) {
  auto line = parse_stat("4711 (a) b ) (c) S 1 2 3 4 5 2097152 7 8 9 10 11 12 13 14 15 16 17 18 "
                         "987654 20 21 22 23 24 140737 26 27");

  ASSERT_TRUE(line);
  EXPECT_EQ(line->state, 'S');
  EXPECT_EQ(line->flags, 2097152u);
  EXPECT_EQ(line->start_ticks, 987654u);
  EXPECT_EQ(line->stack_start, 140737u);
  EXPECT_FALSE(parse_stat("4711 (cut) S 1 2"));
  EXPECT_FALSE(parse_stat(""));
}

TEST(ServiceNames, ComeFromResourceAttributes) {
  EXPECT_EQ(service_name_of("a=b, service.name=my%20cart,c=d"), "my cart");
  EXPECT_EQ(service_name_of("service.namespace=shop"), "");
  EXPECT_EQ(service_name_of("service.name=x%"), "x%");
}

// A child of this test that waits until it is told to end.
class Child {
 public:
  explicit Child(std::vector<std::string> environment) {
    std::vector<char*> variables;
    variables.reserve(environment.size() + 1);
    for (std::string& variable : environment) variables.push_back(variable.data());
    variables.push_back(nullptr);
    int ready[2];
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      const char* arguments[] = {"sleep", "60", nullptr};
      execve("/bin/sleep", const_cast<char**>(arguments), variables.data());
      _exit(127);
    }
    close(ready[1]);
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 0); // closed by the exec
    close(ready[0]);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  uint32_t pid() const { return static_cast<uint32_t>(pid_); }
  void kill_without_wait() const {
    kill(pid_, SIGKILL);
    siginfo_t info;
    waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }

 private:
  pid_t pid_ = -1;
};

TEST(ProcFiles, ReadsAProcess) {
  Child child({"OTEL_SERVICE_NAME=cart", "OTEL_RESOURCE_ATTRIBUTES=service.name=other"});

  auto process = ProcFiles().read(child.pid());

  ASSERT_TRUE(process.ok()) << process.error().message;
  EXPECT_EQ(process->key.pid, child.pid());
  EXPECT_GT(process->key.start_ticks, 0u);
  EXPECT_EQ(process->argv, (std::vector<std::string>{"sleep", "60"}));
  EXPECT_EQ(process->service, "cart");
  EXPECT_EQ(process->service_source, ServiceSource::kServiceNameVariable);
  EXPECT_NE(process->executable.find("/sleep"), std::string::npos);
  EXPECT_NEAR(
      static_cast<double>(process->start_wall_ns) / 1e9, static_cast<double>(time(nullptr)), 5.0);
  EXPECT_TRUE(ProcFiles().lives(process->key));
  base::Fd file(*ProcFiles().open_executable(process->key));
  EXPECT_TRUE(file);
}

TEST(ProcFiles, NamesAServiceByResourceAttributesBeforeAnythingElse) {
  Child child({"OTEL_RESOURCE_ATTRIBUTES=service.name=other"});

  auto process = ProcFiles().read(child.pid());

  ASSERT_TRUE(process.ok());
  EXPECT_EQ(process->service, "other");
  EXPECT_EQ(process->service_source, ServiceSource::kResourceAttributeVariable);
}

TEST(ProcFiles, AZombieIsGone) {
  Child child({});
  ProcessKey key = ProcFiles().read(child.pid())->key;
  child.kill_without_wait();

  EXPECT_EQ(ProcFiles().read(child.pid()).error().reason, "PROCESS_GONE");
  EXPECT_FALSE(ProcFiles().lives(key));
}

TEST(ProcFiles, AThreadOfTheKernelIsNoProcess) {
  auto process = ProcFiles().read(2); // kthreadd, but in a pid namespace of its own something else

  if (!process) {
    EXPECT_EQ(process.error().reason, "PROCESS_GONE");
  }
}

TEST(ProcFiles, AnotherProgramUnderTheSamePidIsAnotherProcess) {
  ProcessKey key = ProcFiles().read(static_cast<uint32_t>(getpid()))->key;
  ProcessKey other_start = key;
  ++other_start.start_ticks;
  ProcessKey other_file = key;
  ++other_file.executable.change_time_ns;

  EXPECT_TRUE(ProcFiles().lives(key));
  EXPECT_FALSE(ProcFiles().lives(other_start));
  EXPECT_FALSE(ProcFiles().lives(other_file));
  EXPECT_EQ(ProcFiles().open_executable(other_file).error().reason, "PROCESS_GONE");
}

TEST(ProcFiles, ListsThisProcess) {
  auto pids = ProcFiles().pids();

  EXPECT_NE(std::find(pids.begin(), pids.end(), static_cast<uint32_t>(getpid())), pids.end());
}

} // namespace
} // namespace agent::process
