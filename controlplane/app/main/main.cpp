// sonded: reads its settings, stops being root, starts the control plane, and waits for the signal
// to end.
#include "base/log.h"
#include "controlplane/app/control_plane.h"
#include "controlplane/app/preflight.h"
#include "controlplane/app/settings.h"
#include "controlplane/store/unprivileged_user.h"

#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace {

using controlplane::app::CommandLine;
using controlplane::app::ControlPlane;
using controlplane::app::Secrets;
using controlplane::app::Settings;

constexpr int kExitUsage = 2;

base::Result<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::stringstream text;
  if (path.empty()) return std::string();
  if (!stream || !(text << stream.rdbuf()))
    return base::errno_error("read " + path.string(), errno);
  return text.str();
}

// What the unprivileged user may not be able to read.
base::Result<Secrets> read_secrets(const Settings& settings) {
  Secrets secrets;
  if (!settings.api_tokens.empty())
    secrets.api_tokens = TRY(controlplane::identity::ApiTokens::open(settings.api_tokens));
  secrets.tls_certificate_pem = TRY(read_file(settings.tls_certificate));
  secrets.tls_key_pem = TRY(read_file(settings.tls_key));
  return secrets;
}

sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int number : {SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr); // every thread inherits it; main waits
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

base::Result<> run(const Settings& settings) {
  auto signals = block_signals();
  auto secrets = TRY(read_secrets(settings));
  TRY(controlplane::app::check_before_start(settings, secrets));
  TRY(controlplane::store::become_unprivileged(settings.state_dir, settings.user));
  auto control_plane = TRY(ControlPlane::start(settings, std::move(secrets)));
  int signal = 0;
  sigwait(&signals, &signal);
  base::log::info("{}: ending", signal == SIGINT ? "SIGINT" : "SIGTERM");
  control_plane->stop();
  return {};
}

} // namespace

int main(int argc, char** argv) {
  auto line = controlplane::app::read_command_line(argc, argv);
  if (line.action != CommandLine::Action::kServe) {
    bool failed = line.action == CommandLine::Action::kFail;
    std::fputs(line.text.c_str(), failed ? stderr : stdout);
    return failed ? kExitUsage : 0;
  }
  const auto& settings = line.settings;
  base::set_up_log(
      "sonded", settings.log_json ? base::LogFormat::kJson : base::LogFormat::kText,
      settings.log_level);
  if (auto ended = run(settings); !ended) {
    base::log::error("{} ({})", ended.error().message, ended.error().reason);
    return 1;
  }
  return 0;
}
