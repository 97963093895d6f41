#include "agent/process/analyzer.h"

#include "agent/process/channel.h"
#include "agent/process/fact_codec.h"
#include "agent/process/limits.h"
#include "agent/process/worker.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>

namespace agent::process {
namespace {

// The worker keeps its own time; this is for a worker that does not.
constexpr int kAnswerTimeoutMs = kAnalysisTimeoutMs + 2'000;

base::Error analysis_failed(std::string message) {
  return {base::Code::kInternal, "ANALYSIS_FAILED", std::move(message), {}};
}

} // namespace

Analyzer::~Analyzer() { end_worker(); }

base::Result<BinaryInfo> Analyzer::analyse(int file, const FactRequest& request) {
  struct stat status {};
  if (fstat(file, &status) != 0) return base::errno_error("stat of the executable", errno);
  std::string question = encode(request);
  // A worker that has been idle may be gone, or go in this moment: then the next one is asked.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!control_) TRY(start_worker());
    if (!send_message(control_.get(), question, file)) {
      end_worker();
      continue;
    }
    auto answer = receive_message(control_.get(), kWorkerAnswerBytesMax, kAnswerTimeoutMs);
    if (answer) return decode_result(answer->bytes, request, static_cast<uint64_t>(status.st_size));
    bool went = answer.error().code == base::Code::kUnavailable;
    end_worker();
    if (!went) return analysis_failed("the analysis worker gave no answer in time");
  }
  return analysis_failed("the analysis worker ended twice without an answer");
}

base::Result<void> Analyzer::start_worker() {
  end_worker();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return base::errno_error("socketpair", errno);
  base::Fd ours(ends[0]);
  base::Fd theirs(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), kAnalysisWorkerFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, kAnalysisWorkerFd + 1);
  std::string command(kAnalysisWorkerCommand);
  char name[] = "sonde-agent";
  char* arguments[] = {name, command.data(), nullptr};
  char* environment[] = {nullptr};
  int failed =
      posix_spawn(&worker_, executable_.c_str(), &actions, nullptr, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    worker_ = -1;
    return base::errno_error("start of the analysis worker", failed);
  }
  control_ = std::move(ours);
  return {};
}

void Analyzer::end_worker() {
  control_.reset();
  if (worker_ < 0) return;
  kill(worker_, SIGKILL);
  while (waitpid(worker_, nullptr, 0) < 0 && errno == EINTR) {
  }
  worker_ = -1;
}

} // namespace agent::process
