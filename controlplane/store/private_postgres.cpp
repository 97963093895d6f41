#include "controlplane/store/private_postgres.h"

#include "base/log.h"
#include "controlplane/store/connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <vector>

namespace controlplane::store {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using base::Result;
using SteadyClock = std::chrono::steady_clock;

// Recovery after a power failure reads the log since the last checkpoint: minutes at worst.
constexpr auto kStartTimeout = 5min;
constexpr auto kProgressEvery = 2s;
constexpr auto kFastShutdownTimeout = 20s;
constexpr auto kImmediateShutdownTimeout = 5s;
constexpr auto kRestartPauseMax = 10s;

base::Error postgres_failed(const std::string& what, const PostgresFiles& files) {
  return base::failed_precondition(
      "POSTGRES_FAILED",
      fmt::format("{}; {} ends with:\n{}", what, files.log.string(), tail_of_log(files)));
}

std::string own_user_name() {
  passwd* user = getpwuid(geteuid());
  return user ? user->pw_name : std::to_string(geteuid());
}

std::string url_of(const fs::path& socket, const std::string& database) {
  return fmt::format(
      "host='{}' port=5432 user='{}' dbname={}", socket.string(), own_user_name(), database);
}

// Runs a program that ends with us, its output in `log`, away from our terminal and environment.
Result<pid_t> spawn(const std::vector<std::string>& arguments, const fs::path& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const char* environment[] = {"PATH=/usr/bin:/bin", "LANG=C", "TZ=UTC", nullptr};
  base::Fd output(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!output) return base::errno_error("open " + log.string(), errno);
  base::Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const pid_t parent = getpid();
  pid_t child = fork();
  if (child < 0) return base::errno_error("fork", errno);
  if (child > 0) return child;
  // sonded blocks and ignores signals that this program must get.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  // A session of its own: Ctrl-C in the terminal is for sonded, which then ends us in order.
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGINT); // to PostgreSQL: a fast, clean shutdown
  if (getppid() != parent) _exit(1);
  dup2(null.get(), 0);
  dup2(output.get(), 1);
  dup2(output.get(), 2);
  if (chdir("/") != 0) _exit(126);
  execve(argv[0], argv.data(), const_cast<char**>(environment));
  _exit(127);
}

// Into a directory beside, renamed when complete: an interrupted initdb leaves nothing that looks
// like data.
Result<void> make_cluster(const PostgresFiles& files) {
  std::error_code error;
  if (fs::exists(files.data / "PG_VERSION", error)) return {};
  base::log::info("store: making a private PostgreSQL in {}", files.root.string());
  auto began = SteadyClock::now();
  fs::path unfinished = files.root / "data.new";
  fs::remove_all(unfinished, error);
  pid_t initdb = TRY(spawn(
      {files.bin / "initdb", "-D", unfinished, "-U", own_user_name(), "--auth-local=peer",
       "--auth-host=reject", "-E", "UTF8", "--locale=C", "--no-instructions", "--no-sync"},
      files.log));
  int status = 0;
  while (waitpid(initdb, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) return postgres_failed("initdb failed", files);
  // One flush of the file system, instead of one per file by initdb: seconds faster.
  base::Fd directory(open(unfinished.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || syncfs(directory.get()) != 0)
    return base::errno_error("flush " + unfinished.string(), errno);
  fs::rename(unfinished, files.data, error);
  if (error)
    return postgres_failed("rename " + unfinished.string() + ": " + error.message(), files);
  auto took = std::chrono::duration<double>(SteadyClock::now() - began);
  base::log::info("store: made it in {:.1f} s", took.count());
  return {};
}

std::vector<std::string> server_arguments(const PostgresFiles& files) {
  std::vector<std::string> arguments{files.bin / "postgres", "-D", files.data};
  for (const std::string& setting :
       {std::string("listen_addresses="), "unix_socket_directories=" + files.socket.string(),
        std::string("unix_socket_permissions=0700"), std::string("port=5432"),
        std::string("cluster_name=sonde"), std::string("max_connections=50"),
        std::string("shared_buffers=64MB"), std::string("logging_collector=off"),
        // no standby reads from a private server
        std::string("wal_level=minimal"), std::string("max_wal_senders=0")}) {
    arguments.push_back("-c");
    arguments.push_back(setting);
  }
  return arguments;
}

Result<void> make_database(const fs::path& socket) {
  auto connection = TRY(connect({url_of(socket, "postgres"), "sonded start", {}}));
  try {
    pqxx::nontransaction tx(connection->pq);
    if (tx.exec("select 1 from pg_database where datname = 'sonde'").empty())
      tx.exec("create database sonde");
    return {};
  } catch (...) {
    return failure_of_exception().error;
  }
}

} // namespace

Result<std::unique_ptr<PrivatePostgres>>
PrivatePostgres::start(const PrivatePostgresOptions& options) {
  if (geteuid() == 0)
    return base::failed_precondition(
        "POSTGRES_REFUSES_ROOT",
        "PostgreSQL does not run as root: become an unprivileged user first");
  auto files = TRY(prepare_postgres_files(options.state_dir, options.install_root));
  auto lock = TRY(lock_postgres_files(files));
  TRY(make_cluster(files));
  std::unique_ptr<PrivatePostgres> postgres(new PrivatePostgres(std::move(files), std::move(lock)));
  std::promise<Result<void>> started;
  auto outcome = started.get_future();
  postgres->supervisor_ =
      std::jthread([raw = postgres.get(), promise = std::move(started)]() mutable {
        raw->supervise(std::move(promise));
      });
  TRY(outcome.get());
  return postgres;
}

PrivatePostgres::PrivatePostgres(PostgresFiles files, base::Fd lock)
    : files_(std::move(files)), lock_(std::move(lock)), stop_event_(eventfd(0, EFD_CLOEXEC)) {}

PrivatePostgres::~PrivatePostgres() {
  uint64_t one = 1;
  if (write(stop_event_.get(), &one, sizeof one) < 0)
    base::log::error("store: cannot stop the private PostgreSQL");
  if (supervisor_.joinable()) supervisor_.join();
}

void PrivatePostgres::supervise(std::promise<Result<void>> started) {
  auto first = adopt_or_launch();
  const bool ok = first.ok();
  started.set_value(std::move(first));
  if (!ok) return stop_postmaster();
  auto pause = 100ms;
  while (true) {
    wait_for_end_or_stop();
    pollfd stop{stop_event_.get(), POLLIN, 0};
    if (poll(&stop, 1, 0) > 0) return stop_postmaster();
    base::log::error("store: the private PostgreSQL ended by itself; starting it again");
    auto again = launch();
    if (again.ok()) {
      pause = 100ms;
      continue;
    }
    base::log::error("store: {}", again.error().message);
    if (poll(&stop, 1, static_cast<int>(pause.count())) > 0) return stop_postmaster();
    pause = std::min<std::chrono::milliseconds>(pause * 2, kRestartPauseMax);
  }
}

// A server that outlived its sonded is ours: it holds the data and cannot be started twice. One
// that is on its way down (its sonded died a moment ago) is waited for.
Result<void> PrivatePostgres::adopt_or_launch() {
  auto running = find_running_postmaster(files_);
  if (!running) return launch();
  postmaster_ = running->pid;
  postmaster_fd_.reset(static_cast<int>(syscall(SYS_pidfd_open, running->pid, 0)));
  adopted_ = true;
  database_url_ = url_of(running->socket, "sonde");
  base::log::info("store: found the private PostgreSQL running (pid {})", running->pid);
  auto answers = wait_until_it_answers();
  if (answers.ok()) {
    base::log::info("store: adopted it");
    return make_database(running->socket);
  }
  if (!postmaster_has_ended()) return answers;
  adopted_ = false;
  return launch();
}

Result<void> PrivatePostgres::launch() {
  auto began = SteadyClock::now();
  database_url_ = url_of(files_.socket, "sonde");
  postmaster_ = TRY(spawn(server_arguments(files_), files_.log));
  postmaster_fd_.reset(static_cast<int>(syscall(SYS_pidfd_open, postmaster_.load(), 0)));
  TRY(wait_until_it_answers());
  TRY(make_database(files_.socket));
  auto took = std::chrono::duration<double>(SteadyClock::now() - began);
  base::log::info("store: the private PostgreSQL is ready after {:.1f} s", took.count());
  return {};
}

Result<void> PrivatePostgres::wait_until_it_answers() {
  const auto began = SteadyClock::now();
  auto next_progress = began + kProgressEvery;
  const fs::path socket =
      adopted_ ? find_running_postmaster(files_).value_or(PostmasterFile{-1, files_.socket}).socket
               : files_.socket;
  while (true) {
    auto connected = connect({url_of(socket, "postgres"), "sonded start", {}});
    if (connected.ok()) return {};
    if (postmaster_has_ended()) return postgres_failed("PostgreSQL ended while starting", files_);
    pollfd stop{stop_event_.get(), POLLIN, 0};
    if (poll(&stop, 1, 20) > 0) return base::unavailable("STOPPING", "sonded is stopping");
    auto now = SteadyClock::now();
    if (now > began + kStartTimeout)
      return postgres_failed("PostgreSQL did not answer: " + connected.error().message, files_);
    if (now < next_progress) continue;
    next_progress = now + kProgressEvery;
    base::log::info("store: waiting for PostgreSQL: {}", connected.error().message);
  }
}

bool PrivatePostgres::postmaster_has_ended() {
  pollfd ended{postmaster_fd_.get(), POLLIN, 0};
  if (postmaster_fd_ && poll(&ended, 1, 0) == 0) return false;
  if (!adopted_) waitpid(postmaster_, nullptr, WNOHANG);
  return true;
}

void PrivatePostgres::wait_for_end_or_stop() {
  pollfd events[] = {{stop_event_.get(), POLLIN, 0}, {postmaster_fd_.get(), POLLIN, 0}};
  while (poll(events, 2, -1) < 0 && errno == EINTR) {
  }
  if (events[1].revents != 0 && !adopted_) waitpid(postmaster_, nullptr, WNOHANG);
  if (events[1].revents != 0) adopted_ = false;
}

void PrivatePostgres::stop_postmaster() {
  if (postmaster_ <= 0 || postmaster_has_ended()) return;
  for (auto [signal, timeout] :
       {std::pair<int, std::chrono::milliseconds>{SIGINT, kFastShutdownTimeout},
        {SIGQUIT, kImmediateShutdownTimeout},
        {SIGKILL, kImmediateShutdownTimeout}}) {
    kill(postmaster_, signal);
    pollfd ended{postmaster_fd_.get(), POLLIN, 0};
    if (poll(&ended, 1, static_cast<int>(timeout.count())) > 0) break;
    base::log::warn("store: PostgreSQL did not end on signal {}", signal);
  }
  if (!adopted_) waitpid(postmaster_, nullptr, WNOHANG);
}

} // namespace controlplane::store
