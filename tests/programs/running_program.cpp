#include "tests/programs/running_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <utility>

namespace programs {
namespace {

constexpr auto kReadyTimeout = std::chrono::seconds(10);

std::vector<char*> pointers_of(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string read_line(int fd) {
  std::string line;
  auto deadline = std::chrono::steady_clock::now() + kReadyTimeout;
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    char c = 0;
    if (read(fd, &c, 1) != 1) return line;
    if (c == '\n') return line;
    line.push_back(c);
  }
  return line;
}

} // namespace

std::string path_of(std::string_view go_version, std::string_view name) {
  const char* build = std::getenv("SONDE_BUILD_DIR");
  return std::string(build == nullptr ? "build/dev" : build) + "/programs/go" +
         std::string(go_version) + "/" + std::string(name);
}

std::string why_absent(std::string_view go_version, std::string_view name) {
  std::string path = path_of(go_version, name);
  if (access(path.c_str(), X_OK) == 0) return {};
  std::ifstream skipped(path + ".skipped");
  std::string reason;
  return std::getline(skipped, reason) ? reason : path + ": not built";
}

base::Result<RunningProgram> RunningProgram::start(
    const std::string& path, const std::vector<std::string>& arguments,
    const std::vector<std::string>& environment) {
  std::vector<std::string> argv{path};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);
  variables.insert(variables.end(), environment.begin(), environment.end());
  std::vector<char*> argv_pointers = pointers_of(argv);
  std::vector<char*> environment_pointers = pointers_of(variables);

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return base::errno_error("pipe", errno);
  RunningProgram program;
  program.output_ = ends[0];
  program.pid_ = fork();
  if (program.pid_ < 0) return base::errno_error("fork", errno);
  if (program.pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], STDOUT_FILENO);
    execve(path.c_str(), argv_pointers.data(), environment_pointers.data());
    _exit(127);
  }
  close(ends[1]);

  program.first_line_ = read_line(program.output_);
  constexpr std::string_view kListening = "listening ";
  if (program.first_line_.rfind(kListening, 0) != 0)
    return base::unavailable(
        "PROGRAM_NOT_READY", path + " said \"" + program.first_line_ + "\" instead of listening");
  size_t end = program.first_line_.find(' ', kListening.size());
  program.address_ = program.first_line_.substr(kListening.size(), end - kListening.size());
  size_t colon = program.address_.rfind(':');
  program.port_ =
      static_cast<uint16_t>(std::strtoul(program.address_.c_str() + colon + 1, nullptr, 10));
  return program;
}

RunningProgram::RunningProgram(RunningProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), output_(std::exchange(other.output_, -1)),
      address_(std::move(other.address_)), first_line_(std::move(other.first_line_)),
      port_(other.port_) {}

RunningProgram::~RunningProgram() {
  stop();
  if (output_ >= 0) close(output_);
}

void RunningProgram::kill(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);
}

void RunningProgram::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

} // namespace programs
