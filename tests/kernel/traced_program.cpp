#include "tests/kernel/traced_program.h"

#include "agent/plan/facts.h"
#include "agent/process/analysis.h"
#include "agent/process/live_check.h"
#include "base/fd.h"
#include "tests/programs/mapped_file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <fstream>
#include <sstream>

namespace kernel_test {
namespace {

// Field 22 of /proc/<pid>/stat; the name in field 2 may hold blanks.
uint64_t start_ticks_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream rest(line.substr(line.rfind(')') + 2));
  std::string word;
  for (int field = 3; field < 22; ++field) rest >> word;
  uint64_t ticks = 0;
  rest >> ticks;
  return ticks;
}

} // namespace

base::Result<agent::process::GoProcess> go_process_of(const programs::RunningProgram& program) {
  const auto pid = std::to_string(program.pid());
  const programs::MappedFile file("/proc/" + pid + "/exe");
  agent::process::GoProcess go;
  go.process.key.pid = static_cast<uint32_t>(program.pid());
  go.process.key.start_ticks = start_ticks_of(program.pid());
  go.process.executable = "/app/server";
  go.process.service = "server";
  go.binary = std::make_shared<agent::process::BinaryInfo>(TRY(agent::process::analyse(
      file.bytes(),
      agent::process::merged(agent::plan::all_facts(), agent::process::live_check_facts()))));
  return go;
}

std::string
http_get(const std::string& address, const std::string& target, const std::string& headers) {
  const auto colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  base::Fd socket_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval timeout{5, 0};
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  if (connect(socket_fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) return "";
  const auto request =
      "GET " + target + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + headers + "\r\n";
  if (send(socket_fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer;
  std::array<char, 4096> buffer{};
  for (ssize_t n = 0; (n = recv(socket_fd.get(), buffer.data(), buffer.size(), 0)) > 0;)
    answer.append(buffer.data(), static_cast<size_t>(n));
  return answer;
}

} // namespace kernel_test
