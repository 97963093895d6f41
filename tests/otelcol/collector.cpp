#include "collector.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace otelcol {
namespace {

const std::string kProgram = OTELCOL_PROGRAM;
const std::string kConfig = OTELCOL_CONFIG;

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) abort();
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

bool answers(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool ok = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return ok;
}

} // namespace

std::string Collector::skip_reason() {
  if (std::filesystem::exists(kProgram)) return "";
  std::ifstream skipped(kProgram + ".skipped");
  std::string reason;
  if (std::getline(skipped, reason)) return reason;
  std::fprintf(stderr, "%s is missing: build the target otelcol\n", kProgram.c_str());
  abort();
}

Collector::Collector() : port_(free_port()) {
  std::string folder = "/tmp/sonde-otelcol-XXXXXX";
  if (!mkdtemp(folder.data())) abort();
  folder_ = folder;
  start();
}

Collector::~Collector() {
  stop();
  std::filesystem::remove_all(folder_);
}

void Collector::start() {
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setenv("OTELCOL_ADDRESS", address().c_str(), 1);
    setenv("OTELCOL_OUT", (folder_ + "/traces.json").c_str(), 1);
    execl(kProgram.c_str(), "otelcol", "--config", kConfig.c_str(), nullptr);
    _exit(127);
  }
  for (int i = 0; i < 3000 && !answers(port_); ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      std::fprintf(stderr, "the Collector ended at once\n");
      abort();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  if (!answers(port_)) abort();
}

void Collector::stop() {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  for (int i = 0; i < 500; ++i) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::vector<std::string> Collector::lines() const {
  std::vector<std::string> lines;
  std::ifstream file(folder_ + "/traces.json");
  std::string line;
  // A line without its end is still being written.
  while (std::getline(file, line) && !file.eof())
    if (!line.empty()) lines.push_back(line);
  return lines;
}

} // namespace otelcol
