#include "controlplane/store/postgres_files.h"

#include "base/hex.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <vector>

namespace controlplane::store {
namespace {

namespace fs = std::filesystem;
using base::Result;

constexpr uintmax_t kLogBytesMax = 8 << 20;
constexpr size_t kLogTailBytes = 600;
constexpr const char* kSocketName = "/.s.PGSQL.5432";

base::Error unusable(const fs::path& path, const std::string& why) {
  return base::failed_precondition(
      "STATE_DIR_UNUSABLE",
      fmt::format(
          "{}: {}; choose another --state-dir, such as /var/lib/sonde", path.string(), why));
}

// Makes a directory that only we can enter, or checks that it is one.
Result<void> own_directory(const fs::path& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return unusable(path, std::strerror(errno));
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return unusable(path, std::strerror(errno));
  if (!S_ISDIR(status.st_mode)) return unusable(path, "is not a directory");
  if (status.st_uid != geteuid())
    return unusable(
        path, fmt::format("belongs to uid {}, sonded runs as uid {}", status.st_uid, geteuid()));
  if (chmod(path.c_str(), 0700) != 0) return unusable(path, std::strerror(errno));
  return {};
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool is_installed(const fs::path& bin) {
  return access((bin / "postgres").c_str(), X_OK) == 0 &&
         access((bin / "initdb").c_str(), X_OK) == 0;
}

Result<fs::path> choose_programs(const fs::path& data, const fs::path& install_root) {
  std::error_code ignored;
  int newest = 0;
  for (const auto& entry : fs::directory_iterator(install_root, ignored)) {
    int version = std::atoi(entry.path().filename().c_str());
    if (version > newest && is_installed(entry.path() / "bin")) newest = version;
  }
  if (newest == 0)
    return base::failed_precondition(
        "POSTGRES_NOT_INSTALLED", fmt::format(
                                      "no PostgreSQL server in {}: install postgresql-15, or name "
                                      "a server with --database-url",
                                      install_root.string()));
  std::string made_by = first_line(data / "PG_VERSION");
  if (made_by.empty()) return install_root / std::to_string(newest) / "bin";
  fs::path bin = install_root / made_by / "bin";
  if (!is_installed(bin))
    return base::failed_precondition(
        "POSTGRES_VERSION_MISSING",
        fmt::format(
            "{} was made by PostgreSQL {}, and this host has {}: install postgresql-{}, or move "
            "the data with pg_upgrade",
            data.string(), made_by, newest, made_by));
  return bin;
}

// A socket path has at most 107 bytes. Where the state directory is deeper, the socket moves to
// /tmp, to a directory that only we can enter.
Result<fs::path> choose_socket_directory(const fs::path& root) {
  constexpr size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
  if (root.string().size() + std::strlen(kSocketName) + std::strlen(".lock") <= kPathMax)
    return root;
  std::string name = base::to_hex(base::sha256(root.string())).substr(0, 16);
  fs::path directory = fmt::format("/tmp/sonde-{}-{}", geteuid(), name);
  TRY(own_directory(directory));
  return directory;
}

void rotate_log(const fs::path& log) {
  std::error_code ignored;
  if (fs::exists(log, ignored) && fs::file_size(log, ignored) > kLogBytesMax)
    fs::rename(log, log.string() + ".1", ignored);
}

} // namespace

Result<PostgresFiles>
prepare_postgres_files(const fs::path& state_dir, const fs::path& install_root) {
  std::error_code error;
  fs::path absolute = fs::absolute(state_dir, error);
  fs::create_directories(absolute, error);
  if (error) return unusable(absolute, error.message());
  if (access(absolute.c_str(), R_OK | W_OK | X_OK) != 0)
    return unusable(absolute, std::strerror(errno));
  PostgresFiles files;
  files.root = absolute / "postgres";
  TRY(own_directory(files.root));
  files.data = files.root / "data";
  files.log = files.root / "log";
  rotate_log(files.log);
  files.socket = TRY(choose_socket_directory(files.root));
  files.bin = TRY(choose_programs(files.data, install_root));
  return files;
}

Result<base::Fd> lock_postgres_files(const PostgresFiles& files) {
  fs::path path = files.root / "lock";
  base::Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return base::errno_error("open " + path.string(), errno);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return base::failed_precondition(
        "STATE_DIR_IN_USE",
        fmt::format(
            "another sonded runs the PostgreSQL in {}: start a second replica with --database-url "
            "\"host={} dbname=sonde\" and ports of its own",
            files.root.string(), files.socket.string()));
  return fd;
}

std::optional<PostmasterFile> find_running_postmaster(const PostgresFiles& files) {
  fs::path path = files.data / "postmaster.pid";
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  if (lines.size() < 5) return std::nullopt;
  PostmasterFile found{std::atoi(lines[0].c_str()), lines[4]};
  std::error_code error;
  fs::path exe = fs::read_symlink(fmt::format("/proc/{}/exe", found.pid), error);
  if (!error && exe.filename().string().starts_with("postgres")) return found;
  fs::remove(path, error);
  return std::nullopt;
}

std::string tail_of_log(const PostgresFiles& files) {
  std::ifstream file(files.log, std::ios::ate);
  if (!file) return {};
  auto size = static_cast<size_t>(file.tellg());
  file.seekg(static_cast<std::streamoff>(size > kLogTailBytes ? size - kLogTailBytes : 0));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

} // namespace controlplane::store
