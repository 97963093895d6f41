#include "agent/identity/state_files.h"

#include "agent/identity/limits.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace agent::identity {

namespace fs = std::filesystem;
using base::Result;

fs::path key_file(const fs::path& state_dir) { return state_dir / "agent.key"; }
fs::path certificate_file(const fs::path& state_dir) { return state_dir / "agent.crt"; }
fs::path authorities_file(const fs::path& state_dir) { return state_dir / "authorities.crt"; }
fs::path used_token_file(const fs::path& state_dir) { return state_dir / "join_token.sha256"; }

bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Result<std::string> read_file(const fs::path& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return base::errno_error("open " + path.string(), errno);
  std::string text(kFileBytesMax, '\0');
  ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return base::errno_error("read " + path.string(), errno);
  text.resize(static_cast<size_t>(size));
  return text;
}

Result<> write_file(const fs::path& path, std::string_view text) {
  fs::path beside = path;
  beside += ".new";
  ::unlink(beside.c_str());
  base::Fd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return base::errno_error("create " + beside.string(), errno);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0)
    return base::errno_error("write " + beside.string(), errno);
  if (::rename(beside.c_str(), path.c_str()) != 0)
    return base::errno_error("rename to " + path.string(), errno);
  return {};
}

Result<> make_state_dir(const fs::path& state_dir) {
  std::error_code failed;
  fs::create_directories(state_dir.parent_path(), failed);
  if (::mkdir(state_dir.c_str(), 0700) != 0 && errno != EEXIST)
    return base::failed_precondition(
        "STATE_DIR_UNUSABLE", base::errno_error("mkdir " + state_dir.string(), errno).message +
                                  "; --state-dir names another place");
  return {};
}

Result<base::Fd> lock_state_dir(const fs::path& state_dir) {
  TRY(make_state_dir(state_dir));
  const fs::path file = state_dir / "lock";
  base::Fd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd)
    return base::failed_precondition(
        "STATE_DIR_UNUSABLE", base::errno_error("open " + file.string(), errno).message +
                                  "; --state-dir names another place");
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return base::errno_error("lock " + file.string(), errno);
  return base::failed_precondition(
      "STATE_DIR_IN_USE", "another sonde-agent runs with " + state_dir.string() +
                              ": an identity is for one agent; --state-dir names another place");
}

Result<base::PrivateKey> load_or_make_key(const fs::path& state_dir) {
  if (has_file(key_file(state_dir)))
    return base::PrivateKey::from_pem(TRY(read_file(key_file(state_dir))))
        .context(key_file(state_dir).string());
  base::PrivateKey key = TRY(base::PrivateKey::generate());
  TRY(write_file(key_file(state_dir), key.to_pem()));
  return key;
}

} // namespace agent::identity
