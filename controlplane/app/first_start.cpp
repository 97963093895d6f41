#include "controlplane/app/first_start.h"

#include "base/fd.h"
#include "base/log.h"
#include "controlplane/identity/api_tokens.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace controlplane::app {

base::Result<>
write_file(const std::filesystem::path& path, const std::string& text, unsigned mode) {
  auto beside = path;
  beside += ".new";
  ::unlink(beside.c_str());
  base::Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file) return base::errno_error("write " + beside.string(), errno);
  ::fchmod(file.get(), mode); // whatever the umask says
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(file.get()) != 0 || ::rename(beside.c_str(), path.c_str()) != 0)
    return base::errno_error("write " + path.string(), errno);
  return {};
}

base::Result<std::filesystem::path> make_api_tokens(const std::filesystem::path& state_dir) {
  auto tokens = state_dir / kTokensFile;
  std::error_code error;
  if (std::filesystem::exists(tokens, error)) return tokens;
  auto token = identity::new_api_token();
  auto admin = state_dir / kAdminTokenFile;
  TRY(write_file(admin, token + "\n", 0600));
  TRY(write_file(
      tokens,
      "# name role sha256hex(token)\n" +
          identity::api_token_line("admin", model::Role::kAdmin, token),
      0600));
  base::log::info("made an API token with role admin: {}", admin.string());
  return tokens;
}

} // namespace controlplane::app
