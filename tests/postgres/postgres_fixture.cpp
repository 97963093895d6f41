#include "tests/postgres/postgres_fixture.h"

#include "controlplane/store/migrations.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pqxx/pqxx>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace postgres_fixture {
namespace {

using namespace std::chrono_literals;

constexpr const char* kBinDirectory = "/usr/lib/postgresql/15/bin/";
constexpr const char* kTemplate = "sonde_template";
constexpr auto kStartDeadline = 60s;

[[noreturn]] void give_up(const std::string& what) {
  fmt::print(stderr, "postgres_fixture: {}\n", what);
  std::abort();
}

// In a forked child: become the user postgres when root, since PostgreSQL refuses root.
void drop_root() {
  if (geteuid() != 0) return;
  passwd* user = getpwnam("postgres");
  if (!user || setgroups(0, nullptr) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
    _exit(126);
}

pid_t spawn(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t child = fork();
  if (child != 0) return child;
  drop_root();
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(126);
  if (chdir("/") != 0) _exit(126);
  execv(argv[0], argv.data());
  _exit(127);
}

// Waits for the end of this process on a pipe, then ends the cluster and removes its directory.
void start_janitor(const std::string& directory) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) give_up("pipe");
  pid_t child = fork();
  if (child != 0) {
    close(ends[0]); // ends[1] stays open as long as we live
    return;
  }
  setsid();
  signal(SIGINT, SIG_IGN);
  int null = open("/dev/null", O_RDWR); // not freopen: that would write the parent's buffer again
  dup2(ends[0], 0);
  dup2(null, 1);
  dup2(null, 2);
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  std::string script = fmt::format(
      "read x; if [ -r {0}/data/postmaster.pid ]; then read pid <{0}/data/postmaster.pid; "
      "kill -QUIT $pid; for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 $pid 2>/dev/null || break; "
      "sleep 0.1; done; fi; rm -rf {0}",
      directory);
  execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
  _exit(127);
}

class Cluster {
 public:
  static Cluster& instance() {
    static Cluster cluster;
    return cluster;
  }

  std::string url(const std::string& database) const {
    return fmt::format("host={} user=postgres dbname={}", directory_, database);
  }

  void admin(const std::string& sql) {
    try {
      pqxx::connection connection(url("postgres"));
      pqxx::nontransaction(connection).exec(sql);
    } catch (const std::exception& error) {
      give_up(sql + ": " + error.what());
    }
  }

 private:
  Cluster() {
    char path[] = "/tmp/sonde-pg-XXXXXX";
    if (!mkdtemp(path)) give_up("mkdtemp");
    directory_ = path;
    if (geteuid() == 0) {
      passwd* user = getpwnam("postgres");
      if (!user || chown(path, user->pw_uid, user->pw_gid) != 0) give_up("no user postgres");
    }
    start_janitor(directory_);
    const std::string log = directory_ + "/log", data = directory_ + "/data";
    int status = 0;
    pid_t initdb = spawn(
        {std::string(kBinDirectory) + "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E",
         "UTF8", "--locale=C", "--no-sync", "--no-instructions"},
        log);
    waitpid(initdb, &status, 0);
    if (status != 0) give_up("initdb failed, see " + log);
    server_ = spawn(
        {std::string(kBinDirectory) + "postgres", "-D", data, "-k", directory_, "-c",
         "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c",
         "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=60", "-c",
         "autovacuum=off"},
        log);
    wait_until_it_answers(log);
    admin(fmt::format("create database {}", kTemplate));
    auto migrated = controlplane::store::migrate(url(kTemplate));
    if (!migrated.ok()) give_up(migrated.error().message);
  }

  ~Cluster() {
    kill(server_, SIGQUIT);
    waitpid(server_, nullptr, 0);
  }

  void wait_until_it_answers(const std::string& log) {
    auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    while (true) {
      try {
        pqxx::connection connection(url("postgres"));
        return;
      } catch (const std::exception& error) {
        if (std::chrono::steady_clock::now() > deadline || waitpid(server_, nullptr, WNOHANG) != 0)
          give_up(fmt::format("postgres did not start: {} (see {})", error.what(), log));
      }
      std::this_thread::sleep_for(20ms);
    }
  }

  std::string directory_;
  pid_t server_ = -1;
};

std::atomic<int> databases = 0;

} // namespace

ScopedDatabase::ScopedDatabase(Content content) : name_(fmt::format("test_{}", ++databases)) {
  Cluster& cluster = Cluster::instance();
  // file_copy: ten times as fast as the default, which writes every page to the log.
  cluster.admin(
      content == Content::kMigrated
          ? fmt::format("create database {} template {} strategy file_copy", name_, kTemplate)
          : fmt::format("create database {} strategy file_copy", name_));
  url_ = cluster.url(name_);
}

ScopedDatabase::~ScopedDatabase() {
  Cluster::instance().admin(fmt::format("drop database {} with (force)", name_));
}

void ScopedDatabase::take_away() {
  Cluster& cluster = Cluster::instance();
  cluster.admin(fmt::format("alter database {} allow_connections false", name_));
  cluster.admin(fmt::format(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}'", name_));
}

void ScopedDatabase::give_back() {
  Cluster::instance().admin(fmt::format("alter database {} allow_connections true", name_));
}

std::unique_ptr<controlplane::store::Pool> ScopedDatabase::pool() const { return pool({}); }

std::unique_ptr<controlplane::store::Pool>
ScopedDatabase::pool(controlplane::store::PoolOptions options) const {
  options.database_url = url_;
  auto pool = controlplane::store::Pool::make(std::move(options));
  if (!pool.ok()) give_up(pool.error().message);
  return *std::move(pool);
}

} // namespace postgres_fixture
