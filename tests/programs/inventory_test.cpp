// Discovery and analysis together, on real Go programs that come and go.
#include "agent/process/inventory.h"
#include "agent/process/worker.h"
#include "base/fd.h"
#include "tests/programs/running_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

namespace agent::process {
namespace {

using programs::RunningProgram;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr auto kPatience = std::chrono::seconds(15);

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/sonde-inventory-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class InventoryTest : public testing::Test {
 protected:
  void SetUp() override {
    for (auto [version, program] :
         {std::pair("1.26", "server-stripped"), {"1.26", "server-pie"}, {"1.22", "chi"}})
      if (auto why = programs::why_absent(version, program); !why.empty()) GTEST_SKIP() << why;
  }
  InventoryOptions options() const {
    InventoryOptions options;
    options.request = FactRequest{{"net/http.(*conn).serve"}, {"runtime.g.goid"}, {}};
    options.cache_directory = directory_.path();
    return options;
  }
  void start(const InventoryOptions& options) {
    inventory_.reset();
    auto started = Inventory::start(options, events_);
    ASSERT_TRUE(started.ok()) << started.error().message;
    inventory_ = *std::move(started);
  }
  // The next event about this pid; those of other Go programs on this host are passed over.
  std::optional<InventoryEvent> next_of(pid_t pid, std::chrono::milliseconds patience = kPatience) {
    auto deadline = Clock::now() + patience;
    while (Clock::now() < deadline)
      if (auto event = events_.pop_for(deadline - Clock::now()))
        if (event->process.process.key.pid == static_cast<uint32_t>(pid)) return event;
    return std::nullopt;
  }
  RunningProgram
  run(const char* version, const char* program, const std::vector<std::string>& variables = {}) {
    auto running = RunningProgram::start(programs::path_of(version, program), {}, variables);
    EXPECT_TRUE(running.ok()) << running.error().message;
    return *std::move(running);
  }

  TemporaryDirectory directory_;
  base::Queue<InventoryEvent> events_{4096};
  std::unique_ptr<Inventory> inventory_;
};

TEST_F(InventoryTest, FindsWhatRunsAlready) {
  RunningProgram server = run("1.26", "server-stripped", {"OTEL_SERVICE_NAME=shop"});

  start(options());

  auto event = next_of(server.pid());
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, InventoryEvent::Kind::kAppeared);
  const GoProcess& found = event->process;
  ASSERT_NE(found.binary, nullptr) << found.refusal->message;
  EXPECT_EQ(found.binary->main_module, "example.com/sonde/server");
  EXPECT_EQ(found.binary->fields.at("runtime.g.goid").offset, 152u);
  EXPECT_EQ(found.process.service, "shop");
  EXPECT_EQ(found.process.load_bias, 0u);
  EXPECT_EQ(fs::path(found.process.executable).filename(), "server-stripped");
}

TEST_F(InventoryTest, SeesANewProcessAtOnce) {
  start(options());
  if (!inventory_->limitation().empty())
    GTEST_SKIP() << "no BPF"; // nor perf events: limitation() says why
  std::vector<Clock::duration> delays;
  for (int round = 0; round < 9; ++round) {
    // A binary that nobody has seen yet: its analysis is part of the time, and so is the program's
    // own start.
    std::string path = directory_.path() + "/copy" + std::to_string(round);
    fs::copy_file(programs::path_of("1.26", "server-stripped"), path);
    auto before = Clock::now();
    auto server = RunningProgram::start(path);
    ASSERT_TRUE(server.ok()) << server.error().message;

    auto event = next_of(server->pid());

    ASSERT_TRUE(event);
    EXPECT_EQ(event->kind, InventoryEvent::Kind::kAppeared);
    delays.push_back(Clock::now() - before);
  }
  // 100 ms is the promise, and the median on an idle machine is 40; on a loaded one only the order
  // can be held.
  std::nth_element(delays.begin(), delays.begin() + 4, delays.end());
  auto median = std::chrono::duration_cast<std::chrono::milliseconds>(delays[4]).count();
  RecordProperty("median_milliseconds", std::to_string(median));
  std::cout << "median of nine: " << median << " ms\n";
  EXPECT_LT(median, 5'000);
  EXPECT_GT(inventory_->counters().exec_events, 0u);
}

TEST_F(InventoryTest, SeesAProcessEnd) {
  start(options());
  RunningProgram server = run("1.26", "server-stripped");
  ASSERT_TRUE(next_of(server.pid()));
  pid_t pid = server.pid();
  server.kill(SIGKILL);

  auto event = next_of(pid);

  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, InventoryEvent::Kind::kEnded);
  EXPECT_NE(event->process.binary, nullptr);
}

TEST_F(InventoryTest, FindsProcessesByScanningWhereThereAreNoTracepoints) {
  InventoryOptions scanning = options();
  scanning.use_tracepoints = false;
  start(scanning);
  EXPECT_FALSE(inventory_->limitation().empty());
  RunningProgram server = run("1.26", "server-stripped");

  auto event = next_of(server.pid());

  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, InventoryEvent::Kind::kAppeared);
}

TEST_F(InventoryTest, KnowsWhereAPositionIndependentProgramLies) {
  RunningProgram server = run("1.26", "server-pie");

  start(options());

  auto event = next_of(server.pid());
  ASSERT_TRUE(event);
  ASSERT_NE(event->process.binary, nullptr) << event->process.refusal->message;
  EXPECT_TRUE(event->process.binary->pie);
  EXPECT_EQ(event->process.binary->dwarf, DwarfCheck::kAgrees);
  EXPECT_NE(event->process.process.load_bias, 0u);
  EXPECT_EQ(event->process.process.load_bias % 4096, 0u);
  // The bytes in the process are those of the file.
  const Function& serve = event->process.binary->functions.at("net/http.(*conn).serve");
  std::ifstream memory("/proc/" + std::to_string(server.pid()) + "/mem", std::ios::binary);
  memory.seekg(static_cast<std::streamoff>(serve.address + event->process.process.load_bias));
  std::string code(serve.code.size(), 0);
  memory.read(code.data(), static_cast<std::streamsize>(code.size()));
  EXPECT_EQ(code, serve.code);
}

TEST_F(InventoryTest, AnExecIsAnotherProcessUnderTheSamePid) {
  start(options());
  std::string first = programs::path_of("1.26", "server-stripped");
  // A shell that becomes one Go program; it is no Go program itself, and never reported.
  auto running = RunningProgram::start("/bin/sh", {"-c", "exec " + first});
  ASSERT_TRUE(running.ok()) << running.error().message;

  auto event = next_of(running->pid());

  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, InventoryEvent::Kind::kAppeared);
  EXPECT_EQ(fs::path(event->process.process.executable).filename(), "server-stripped");
}

void get(uint16_t port, std::string_view path) {
  base::Fd connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  std::string request = "GET " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n\r\n";
  ASSERT_GT(send(connection.get(), request.data(), request.size(), 0), 0);
  char answer[1024];
  (void)!recv(connection.get(), answer, sizeof(answer), 0);
}

TEST_F(InventoryTest, AProgramThatStartsItselfAgainEndsAndAppears) {
  start(options());
  RunningProgram server = run("1.26", "server-pie");
  auto first = next_of(server.pid());
  ASSERT_TRUE(first);

  get(server.port(), "/exec");

  auto ended = next_of(server.pid());
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->kind, InventoryEvent::Kind::kEnded);
  EXPECT_EQ(ended->process.process.load_bias, first->process.process.load_bias);
  auto second = next_of(server.pid());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->kind, InventoryEvent::Kind::kAppeared);
  EXPECT_EQ(second->process.process.key.start_ticks, first->process.process.key.start_ticks);
  EXPECT_NE(second->process.process.key, first->process.process.key);
  EXPECT_NE(second->process.process.load_bias, first->process.process.load_bias);
}

TEST_F(InventoryTest, CopiesOfOneProgramShareTheirFacts) {
  std::string copy = directory_.path() + "/copy";
  fs::copy_file(programs::path_of("1.26", "server-stripped"), copy);
  start(options());
  RunningProgram first = run("1.26", "server-stripped");
  auto first_event = next_of(first.pid());
  auto second = RunningProgram::start(copy);
  ASSERT_TRUE(second.ok());
  auto second_event = next_of(second->pid());

  ASSERT_TRUE(first_event && second_event);
  EXPECT_EQ(first_event->process.binary, second_event->process.binary);
  EXPECT_NE(
      first_event->process.process.key.executable, second_event->process.process.key.executable);
}

TEST_F(InventoryTest, ProgramsOfOneBuildIdDoNotShareFacts) {
  // The same label on two programs: the second is the first with another instruction in a function.
  std::string path = directory_.path() + "/twin";
  fs::copy_file(programs::path_of("1.26", "server-stripped"), path);
  start(options());
  RunningProgram original = run("1.26", "server-stripped");
  auto first = next_of(original.pid());
  ASSERT_TRUE(first && first->process.binary);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const Function& serve = first->process.binary->functions.at("net/http.(*conn).serve");
    file.seekp(static_cast<std::streamoff>(serve.file_offset + serve.size - 1));
    file.put('\x90');
  }
  auto twin = RunningProgram::start(path);
  ASSERT_TRUE(twin.ok());

  auto second = next_of(twin->pid());

  ASSERT_TRUE(second && second->process.binary);
  EXPECT_EQ(first->process.binary->build_id, second->process.binary->build_id);
  EXPECT_NE(first->process.binary->binary_hash, second->process.binary->binary_hash);
  EXPECT_NE(first->process.binary, second->process.binary);
}

TEST_F(InventoryTest, ARestartReadsNoBinaryAgain) {
  RunningProgram server = run("1.26", "server-stripped");
  start(options());
  auto first = next_of(server.pid());
  start(options());

  auto second = next_of(server.pid());

  ASSERT_TRUE(first && second && second->process.binary);
  EXPECT_GE(inventory_->counters().cache_hits, 1u);
  EXPECT_EQ(*first->process.binary, *second->process.binary);
}

TEST_F(InventoryTest, CorruptFilesInTheCacheAreWrittenAnew) {
  RunningProgram server = run("1.26", "server-stripped");
  start(options());
  auto first = next_of(server.pid());
  inventory_.reset();
  for (const auto& entry : fs::directory_iterator(directory_.path())) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(300);
    file.put('!');
  }

  start(options());

  auto second = next_of(server.pid());
  ASSERT_TRUE(first && second && second->process.binary);
  EXPECT_EQ(*first->process.binary, *second->process.binary);
  EXPECT_EQ(inventory_->counters().cache_hits, 0u);
  start(options());
  ASSERT_TRUE(next_of(server.pid()));
  EXPECT_GE(inventory_->counters().cache_hits, 1u);
}

TEST_F(InventoryTest, AnotherRequestDoesNotUseTheFactsOfThisOne) {
  RunningProgram server = run("1.26", "server-stripped");
  start(options());
  ASSERT_TRUE(next_of(server.pid()));
  InventoryOptions other = options();
  other.request.fields.push_back("runtime.m.curg");

  start(other);

  auto event = next_of(server.pid());
  ASSERT_TRUE(event && event->process.binary);
  EXPECT_NE(event->process.binary->find_field("runtime.m.curg"), nullptr);
}

TEST_F(InventoryTest, ManyThatStartAndEndAtOnceLeaveNothingBehind) {
  start(options());
  std::string path = programs::path_of("1.26", "server-stripped");
  for (int i = 0; i < 50; ++i) {
    pid_t pid = fork();
    if (pid == 0) {
      dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
      execl(path.c_str(), "server", "-no-such-flag", nullptr); // ends at once
      _exit(127);
    }
    waitpid(pid, nullptr, 0);
  }
  RunningProgram last = run("1.26", "server-stripped");

  ASSERT_TRUE(next_of(last.pid()));
  std::map<uint32_t, int> open;
  while (auto event = events_.pop_for(std::chrono::milliseconds(200)))
    open[event->process.process.key.pid] += event->kind == InventoryEvent::Kind::kAppeared ? 1 : -1;
  for (const auto& [pid, count] : open) EXPECT_LE(count, 1) << pid;
}

} // namespace
} // namespace agent::process

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == agent::process::kAnalysisWorkerCommand)
    return agent::process::run_analysis_worker(agent::process::kAnalysisWorkerFd);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
