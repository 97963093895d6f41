// sonde-agent: flags, identity, the agent, and signals until one of them ends it.
#include "agent/app/agent.h"
#include "agent/app/limits.h"
#include "agent/app/scheduling.h"
#include "agent/identity/state_files.h"
#include "agent/process/worker.h"
#include "base/log.h"

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>

namespace agent::app {
namespace {

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// True when one of the signals that end the agent came within this time.
bool wait_for_signal(std::chrono::nanoseconds time) {
  const auto signals = ending_signals();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  const timespec timeout{seconds.count(), static_cast<long>((time - seconds).count())};
  for (;;) {
    const int signal = sigtimedwait(&signals, nullptr, &timeout);
    if (signal > 0) return true;
    if (errno != EINTR) return false;
  }
}

// Few threads allocate much at a time: more arenas only hold memory back. The buffers of batches
// come back all the time and stay mapped (a fresh mapping costs a page fault per 4 KiB); what is
// left over goes with the next heartbeat of an idle agent.
void trim_memory_use() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
  mallopt(M_MMAP_THRESHOLD, 512 * 1024);
}

base::Result<plan::LocalPolicy> read_policy(const std::filesystem::path& path) {
  if (path.empty()) return plan::LocalPolicy{};
  std::ifstream file(path);
  if (!file) return base::errno_error("open " + path.string(), errno);
  std::ostringstream text;
  text << file.rdbuf();
  auto policy = plan::parse_local_policy(text.str());
  return std::move(policy).context(path.string());
}

// The control plane may come up after the agent; only its own words end the attempts. Nothing when
// a signal did.
base::Result<std::unique_ptr<identity::Identity>>
open_identity(const Config& config, const base::Clock& clock) {
  identity::Options options;
  options.state_dir = config.state_dir;
  options.addresses = config.servers;
  options.hostname = config.hostname;
  // Only the first start needs a token; its file may be gone since.
  const bool has_token =
      !config.join_token.empty() || std::filesystem::exists(config.join_token_file);
  if (has_token)
    options.join_token = TRY(identity::read_join_token(config.join_token_file, config.join_token));
  else if (!config.join_token_file.empty() && !identity::load(config.state_dir, clock))
    return base::failed_precondition(
        "NOT_ENROLLED", "this host has no identity yet, and there is no join token in " +
                            config.join_token_file.string() +
                            ": write one there with `sonde token create`");
  options.enroll_timeout = kEnrollTimeout;
  for (auto wait = kEnrollRetryFirst;; wait = std::min(wait * 2, kEnrollRetryMax)) {
    auto opened = identity::Identity::open(options, clock);
    if (opened || opened.error().code != base::Code::kUnavailable) return opened;
    base::log::warn("enroll: {}; trying again", opened.error().message);
    if (wait_for_signal(wait)) return std::unique_ptr<identity::Identity>();
  }
}

base::Result<> run(Config config) {
  const base::SystemClock clock;
  auto policy = TRY(read_policy(config.policy_file));
  const auto lock = TRY(identity::lock_state_dir(config.state_dir));
  auto identity = TRY(open_identity(config, clock));
  if (!identity) return {};
  base::log::info("this is agent {}", identity->credential()->agent_id);
  auto agent = TRY(Agent::start(std::move(config), std::move(identity), std::move(policy)));
  malloc_trim(0);
  while (!wait_for_signal(agent->heartbeat_interval())) {
    agent->heartbeat();
    // It holds the locks of the heap while it gives pages back: nothing for when the ring fills.
    if (agent->is_idle()) malloc_trim(0);
  }
  base::log::info("ending: detaching and sending what was captured");
  return {};
}

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == process::kAnalysisWorkerCommand)
    return process::run_analysis_worker(process::kAnalysisWorkerFd);
  trim_memory_use();
  auto invocation = parse_command_line(argc, argv);
  if (!invocation.config) return invocation.exit_code;
  base::set_up_log("sonde-agent", invocation.config->log_format, invocation.config->log_level);
  // Before the first thread, so that all of them leave these to the main thread.
  const auto signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  stand_back(invocation.config->nice);
  auto ended = run(*std::move(invocation.config));
  if (ended) return 0;
  base::log::error("{} ({})", ended.error().message, ended.error().reason);
  return ended.error().code == base::Code::kInvalidArgument ? 2 : 1;
}

} // namespace
} // namespace agent::app

int main(int argc, char** argv) { return agent::app::main(argc, argv); }
