#include "controlplane/store/unprivileged_user.h"

#include "base/fd.h"
#include "base/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>

namespace controlplane::store {
namespace {

namespace fs = std::filesystem;
using base::Result;

struct User {
  uid_t uid;
  gid_t gid;
};

std::optional<User> find_user(const std::string& name) {
  passwd* entry = getpwnam(name.c_str());
  if (!entry) return std::nullopt;
  return User{entry->pw_uid, entry->pw_gid};
}

int run_useradd(const std::string& name) {
  pid_t child = fork();
  if (child == 0) {
    const char* environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", nullptr};
    execle(
        "/usr/sbin/useradd", "useradd", "--system", "--user-group", "--no-create-home",
        "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name.c_str(), nullptr,
        environment);
    _exit(127);
  }
  int status = -1;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Result<User> ensure_user(const std::string& name) {
  if (auto user = find_user(name)) return *user;
  base::log::info("sonded: making the system user {}", name);
  run_useradd(name);
  if (auto user = find_user(name)) return *user;
  return base::failed_precondition(
      "USER_MISSING", fmt::format(
                          "there is no user {0} and it could not be made: run 'useradd --system "
                          "{0}', or start sonded "
                          "as an unprivileged user",
                          name));
}

base::Error unusable(const fs::path& path, const std::string& why) {
  return base::failed_precondition(
      "STATE_DIR_UNUSABLE",
      fmt::format(
          "{}: {}; choose another --state-dir, such as /var/lib/sonde", path.string(), why));
}

Result<void> give_directory(const fs::path& directory, const User& user, const std::string& name) {
  std::error_code error;
  const bool existed = fs::exists(directory, error);
  if (!existed) fs::create_directories(directory, error);
  if (error) return unusable(directory, error.message());
  base::Fd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0) return unusable(directory, std::strerror(errno));
  if (status.st_uid == user.uid) return {};
  // What lies in it was made by somebody else; taking over a filled directory could hand over what
  // is not ours.
  if (existed && (status.st_uid != 0 || !fs::is_empty(directory, error)))
    return unusable(
        directory, fmt::format(
                       "belongs to uid {}, not to {}: 'chown -R {} {}' if that is right",
                       status.st_uid, name, name, directory.string()));
  if (fchown(fd.get(), user.uid, user.gid) != 0 || fchmod(fd.get(), 0700) != 0)
    return unusable(directory, std::strerror(errno));
  return {};
}

// As the new user, from the root of the tree down, so that the message names the door that is
// closed.
Result<void> check_reachable(const fs::path& directory, const std::string& name) {
  fs::path walked;
  for (const fs::path& part : directory) {
    walked /= part;
    struct stat status {};
    if (access(walked.c_str(), X_OK) == 0) continue;
    if (stat(walked.c_str(), &status) != 0) return unusable(walked, std::strerror(errno));
    return unusable(
        directory, fmt::format(
                       "user {} cannot enter {} (mode {:04o})", name, walked.string(),
                       status.st_mode & 07777));
  }
  return {};
}

} // namespace

Result<void> become_unprivileged(const fs::path& state_dir, const std::string& name) {
  if (geteuid() != 0) return {};
  User user = TRY(ensure_user(name));
  fs::path directory = fs::absolute(state_dir).lexically_normal();
  TRY(give_directory(directory, user, name));
  if (setgroups(0, nullptr) != 0 || setresgid(user.gid, user.gid, user.gid) != 0 ||
      setresuid(user.uid, user.uid, user.uid) != 0)
    return base::errno_error("become user " + name, errno);
  // Nothing that is started later gets more than this user has.
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return check_reachable(directory, name);
}

} // namespace controlplane::store
