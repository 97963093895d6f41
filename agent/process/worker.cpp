#include "agent/process/worker.h"

#include "agent/process/analysis.h"
#include "agent/process/channel.h"
#include "agent/process/confinement.h"
#include "agent/process/fact_codec.h"
#include "agent/process/limits.h"
#include "base/hex.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace agent::process {
namespace {

constexpr uint64_t kRequestBytesMax = 1 << 20;

base::Result<BinaryInfo>
analyse_confined(int file, uint64_t file_bytes, const FactRequest& request) {
  TRY(confine(file_bytes));
  void* bytes = mmap(nullptr, file_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  if (bytes == MAP_FAILED) return base::errno_error("mmap", errno);
  return analyse(Bytes(static_cast<const uint8_t*>(bytes), file_bytes), request);
}

// Runs in the child; never returns to what called it.
[[noreturn]] void answer_and_exit(int output, int file, const FactRequest& request) {
  struct stat status {};
  base::Result<BinaryInfo> result = base::internal("nothing was read");
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
    result = base::failed_precondition("NOT_A_GO_PROGRAM", "not a regular file");
  else if (status.st_size == 0)
    result = base::failed_precondition("NOT_A_GO_PROGRAM", "the file is empty");
  else
    result = analyse_confined(file, static_cast<uint64_t>(status.st_size), request);
  std::string bytes = encode(result);
  std::string_view left = bytes;
  while (!left.empty()) {
    ssize_t n = write(output, left.data(), left.size());
    if (n <= 0) break;
    left.remove_prefix(static_cast<size_t>(n));
  }
  _exit(left.empty() ? 0 : 1);
}

// What the child wrote until it closed; the rest of the story is in its exit status.
base::Result<std::string> read_answer(int from) {
  std::string answer;
  char buffer[65536];
  while (true) {
    pollfd ready{from, POLLIN, 0};
    int n = poll(&ready, 1, kAnalysisTimeoutMs);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return base::internal("analysis took longer than ten seconds");
    ssize_t got = read(from, buffer, sizeof(buffer));
    if (got <= 0) return answer;
    answer.append(buffer, static_cast<size_t>(got));
    if (answer.size() > kWorkerAnswerBytesMax) return base::internal("its answer is too long");
  }
}

base::Error analysis_failed(std::string message) {
  return {base::Code::kInternal, "ANALYSIS_FAILED", std::move(message), {}};
}

// The answer of one child, or what became of it.
std::string analyse_in_child(int control, const Message& message) {
  auto request = decode_request(message.bytes);
  if (!request) return encode(base::Result<BinaryInfo>(request.error()));
  int ends[2];
  if (pipe(ends) != 0) return encode(base::Result<BinaryInfo>(base::errno_error("pipe", errno)));
  base::Fd output(ends[0]);
  base::Fd input(ends[1]);
  pid_t child = fork();
  if (child < 0) return encode(base::Result<BinaryInfo>(base::errno_error("fork", errno)));
  if (child == 0) {
    close(control);
    output.reset();
    answer_and_exit(input.get(), message.descriptor.get(), *request);
  }
  input.reset();
  auto answer = read_answer(output.get());
  if (!answer) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!answer) return encode(base::Result<BinaryInfo>(analysis_failed(answer.error().message)));
  if (WIFSIGNALED(status))
    return encode(base::Result<BinaryInfo>(
        analysis_failed(std::string("the analysis was killed: ") + strsignal(WTERMSIG(status)))));
  return *std::move(answer);
}

} // namespace

int run_analysis_worker(int control_fd) {
  if (auto dropped = drop_privileges(kAnalysisWorkerUser); !dropped) {
    std::fprintf(stderr, "analysis-worker: %s\n", dropped.error().message.c_str());
    return 1;
  }
  // OpenSSL reads its configuration at first use, which the confined child cannot.
  (void)base::sha256({});
  while (true) {
    auto message = receive_message(control_fd, kRequestBytesMax, kWorkerIdleMs);
    if (!message) return 0;
    std::string answer = analyse_in_child(control_fd, *message);
    if (!send_message(control_fd, answer)) return 0;
  }
}

} // namespace agent::process
