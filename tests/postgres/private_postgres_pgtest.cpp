// The private PostgreSQL, run by a program of its own as an unprivileged user, since these tests
// kill it.
#include "controlplane/store/postgres_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

constexpr auto kDeadline = 30s;

// As root, the user of Debian's package, which is there without making one; else ourselves.
const std::string kUser = geteuid() == 0 ? "postgres" : getpwuid(geteuid())->pw_name;

bool eventually(const std::function<bool()>& condition) {
  auto deadline = std::chrono::steady_clock::now() + kDeadline;
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return condition();
}

// An orphan whose new parent has not read its end yet has ended too.
bool is_alive(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  std::string text((std::istreambuf_iterator<char>(file)), {});
  return !text.empty() && text.find("State:\tZ") == std::string::npos;
}

class ScopedStateDir {
 public:
  explicit ScopedStateDir(const std::string& parent = "/tmp") {
    std::string path = parent + "/sonde-state-XXXXXX";
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    path_ = path;
  }
  ~ScopedStateDir() {
    // A server whose owner was killed may still be writing its last files.
    EXPECT_TRUE(eventually([&] {
      std::error_code error;
      fs::remove_all(path_, error);
      return !fs::exists(path_);
    }));
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// private_postgres_program with pipes to it.
class Program {
 public:
  explicit Program(const std::string& state_dir) {
    int in[2], out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      execl(PRIVATE_POSTGRES_PROGRAM, "sonded", state_dir.c_str(), kUser.c_str(), nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    in_ = in[1];
    out_ = fdopen(out[0], "r");
  }
  ~Program() {
    if (pid_ > 0) finish();
    fclose(out_);
  }

  std::string read_line() {
    std::string line;
    for (int c = fgetc(out_); c != EOF && c != '\n'; c = fgetc(out_)) line += static_cast<char>(c);
    return line;
  }
  // Reads "ready PID how".
  pid_t read_ready(const std::string& how) {
    std::string line = read_line();
    EXPECT_THAT(line, StartsWith("ready "));
    EXPECT_THAT(line, HasSubstr(how));
    return std::atoi(line.c_str() + 6);
  }
  std::string ask(const std::string& sql) {
    std::string line = sql + "\n";
    EXPECT_EQ(write(in_, line.data(), line.size()), static_cast<ssize_t>(line.size()));
    return read_line();
  }
  void kill_hard() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    close(in_);
  }
  int finish() {
    close(in_);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_;
  int in_;
  FILE* out_;
};

// A state directory in which a private PostgreSQL ran before: initdb takes longer than all the
// rest.
class UsedStateDir : public ScopedStateDir {
 public:
  UsedStateDir() {
    static ScopedStateDir original;
    static const bool made = [] {
      Program program(original.path());
      program.read_ready("started");
      return program.finish() == 0;
    }();
    EXPECT_TRUE(made);
    std::string copy = fmt::format("cp -a {}/. {}", original.path(), path());
    EXPECT_EQ(std::system(copy.c_str()), 0);
  }
};

TEST(PrivatePostgres, StartsFromNothingAndEndsInOrder) {
  ScopedStateDir state;
  Program program(state.path());

  pid_t postmaster = program.read_ready("started");

  EXPECT_EQ(program.ask("select current_user as f"), kUser);
  EXPECT_EQ(program.ask("select setting as f from pg_settings where name = 'listen_addresses'"), "")
      << "no port";
  EXPECT_EQ(program.ask("select setting as f from pg_settings where name = 'fsync'"), "on");
  EXPECT_EQ(program.ask("create table kept (f int)"), "-");
  EXPECT_EQ(program.ask("insert into kept values (42)"), "-");
  EXPECT_EQ(program.finish(), 0);
  EXPECT_FALSE(is_alive(postmaster));

  Program again(state.path());
  again.read_ready("started");
  EXPECT_EQ(again.ask("select f from kept"), "42");
}

TEST(PrivatePostgres, LetsOnlyItsOwnUserIn) {
  UsedStateDir state;
  Program program(state.path());
  program.read_ready("started");
  struct stat status {};

  ASSERT_EQ(stat((state.path() + "/postgres").c_str(), &status), 0);

  EXPECT_EQ(status.st_mode & 0777, 0700u);
  EXPECT_EQ(status.st_uid, getpwnam(kUser.c_str())->pw_uid);
  std::ifstream hba(state.path() + "/postgres/data/pg_hba.conf");
  std::string text((std::istreambuf_iterator<char>(hba)), {});
  EXPECT_THAT(text, testing::Not(HasSubstr("trust\n")));
  EXPECT_THAT(text, HasSubstr("peer"));
}

TEST(PrivatePostgres, EndsWhenItsOwnerIsKilledAndKeepsWhatWasCommitted) {
  UsedStateDir state;
  Program program(state.path());
  pid_t postmaster = program.read_ready("started");
  program.ask("create table kept (f int)");
  program.ask("insert into kept values (7)");

  program.kill_hard();

  EXPECT_TRUE(eventually([&] { return !is_alive(postmaster); }));
  Program again(state.path());
  again.read_ready("started");
  EXPECT_EQ(again.ask("select f from kept"), "7");
}

TEST(PrivatePostgres, StartsAtOnceAfterItsOwnerWasKilled) {
  UsedStateDir state;
  for (int round = 0; round < 3; ++round) {
    Program program(state.path());
    program.read_ready("");
    EXPECT_EQ(program.ask("select 1 as f"), "1");
    program.kill_hard();
  }
}

TEST(PrivatePostgres, AdoptsAServerThatOutlivedItsOwner) {
  UsedStateDir state;
  pid_t postmaster = -1;
  {
    Program first(state.path());
    first.read_ready("started");
    first.ask("create table kept (f int)");
  }
  // The same server, with nobody to end it.
  std::string become =
      geteuid() == 0 ? fmt::format("setpriv --reuid={0} --regid={0} --clear-groups ", kUser) : "";
  std::string command = fmt::format(
      "{0}/usr/lib/postgresql/15/bin/pg_ctl -s -w -D {1}/postgres/data -l /dev/null -o \"-c "
      "listen_addresses= -k {1}/postgres\" start",
      become, state.path());
  ASSERT_EQ(std::system(command.c_str()), 0);

  Program second(state.path());
  postmaster = second.read_ready("adopted");

  EXPECT_EQ(second.ask("select count(*) as f from kept"), "0");
  EXPECT_EQ(second.finish(), 0);
  EXPECT_FALSE(is_alive(postmaster)) << "an adopted server ends in order too";
}

TEST(PrivatePostgres, StartsAServerAgainThatEndedByItself) {
  UsedStateDir state;
  Program program(state.path());
  pid_t postmaster = program.read_ready("started");
  program.ask("create table kept (f int)");
  const std::string start_time = "select pg_postmaster_start_time()::text as f";
  const std::string before = program.ask(start_time);

  kill(postmaster, SIGKILL);

  EXPECT_TRUE(eventually([&] {
    std::string now = program.ask(start_time);
    return now.starts_with("2") && now != before;
  }));
  EXPECT_EQ(program.ask("select count(*) as f from kept"), "0");
}

TEST(PrivatePostgres, RefusesASecondOwnerOfTheSameDirectory) {
  UsedStateDir state;
  Program first(state.path());
  first.read_ready("started");

  Program second(state.path());

  EXPECT_THAT(second.read_line(), StartsWith("failed STATE_DIR_IN_USE "));
  EXPECT_EQ(first.ask("select 1 as f"), "1");
}

TEST(PrivatePostgres, IgnoresAPidFileWhosePidIsAnotherProgramNow) {
  UsedStateDir state;
  {
    Program first(state.path());
    first.read_ready("started");
  }
  std::ofstream(state.path() + "/postgres/data/postmaster.pid")
      << getpid() << "\n"
      << state.path() << "/postgres/data\n0\n5432\n"
      << state.path() << "\n\n";

  Program second(state.path());

  second.read_ready("started");
}

TEST(PrivatePostgres, StartsOverAfterAnInterruptedInitdb) {
  ScopedStateDir state;
  fs::create_directories(state.path() + "/postgres/data.new/base");
  std::ofstream(state.path() + "/postgres/data.new/PG_VERSION") << "15\n";
  ASSERT_EQ(std::system(fmt::format("chown -R {} {}", kUser, state.path()).c_str()), 0);

  Program program(state.path());

  program.read_ready("started");
}

TEST(PrivatePostgres, SaysWhichVersionTheDataNeeds) {
  ScopedStateDir state;
  fs::create_directories(state.path() + "/postgres/data");
  std::ofstream(state.path() + "/postgres/data/PG_VERSION") << "9\n";
  ASSERT_EQ(std::system(fmt::format("chown -R {} {}", kUser, state.path()).c_str()), 0);

  Program program(state.path());

  std::string line = program.read_line();
  EXPECT_THAT(line, StartsWith("failed POSTGRES_VERSION_MISSING "));
  EXPECT_THAT(line, HasSubstr("install postgresql-9"));
}

TEST(PrivatePostgres, MovesItsSocketWhenThePathIsTooLong) {
  ScopedStateDir state;
  std::string deep = state.path() + "/" + std::string(60, 'a') + "/" + std::string(60, 'b');
  fs::create_directories(deep);
  ASSERT_EQ(std::system(fmt::format("chown -R {} {}", kUser, state.path()).c_str()), 0);

  Program program(deep);

  program.read_ready("started");
  std::string socket =
      program.ask("select setting as f from pg_settings where name = 'unix_socket_directories'");
  EXPECT_THAT(socket, StartsWith("/tmp/sonde-"));
  struct stat status {};
  ASSERT_EQ(stat(socket.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  program.finish();
  fs::remove_all(socket);
}

TEST(PrivatePostgres, NamesTheDirectoryThatTheUserCannotEnter) {
  if (geteuid() != 0) return; // nobody else changes user
  ScopedStateDir home;        // 0700 and root's, as /root is
  std::string inside = home.path() + "/state";

  Program program(inside);

  std::string line = program.read_line();
  EXPECT_THAT(line, StartsWith("failed STATE_DIR_UNUSABLE "));
  EXPECT_THAT(line, HasSubstr("cannot enter " + home.path() + " (mode 0700)"));
}

TEST(PrivatePostgres, DoesNotTakeOverADirectoryWithFilesOfSomebodyElse) {
  if (geteuid() != 0) return; // nobody else changes user
  ScopedStateDir state;
  std::ofstream(state.path() + "/something") << "not ours";

  Program program(state.path());

  EXPECT_THAT(program.read_line(), StartsWith("failed STATE_DIR_UNUSABLE "));
}

TEST(PrivatePostgres, SaysWhatToInstallWhenThereIsNoServer) {
  ScopedStateDir state;

  auto files = controlplane::store::prepare_postgres_files(state.path(), state.path() + "/none");

  EXPECT_EQ(files.error().reason, "POSTGRES_NOT_INSTALLED");
  EXPECT_THAT(files.error().message, HasSubstr("postgresql-15"));
}

} // namespace
