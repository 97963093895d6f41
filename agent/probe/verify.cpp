#include "agent/probe/verify.h"

#include "base/fd.h"
#include "base/hex.h"

#include <fcntl.h>

#include <cerrno>

namespace agent::probe {
namespace {

base::Result<> verify_site(const base::Fd& file, const plan::FunctionSite& site) {
  std::string found(site.prologue.size(), '\0');
  const auto read =
      pread(file.get(), found.data(), found.size(), static_cast<off_t>(site.function_offset));
  const std::string expected(site.prologue.begin(), site.prologue.end());
  if (read == static_cast<ssize_t>(found.size()) && found == expected) return {};
  return base::failed_precondition(
      "LAYOUT_CONFLICT", site.symbol + ": the file has " + base::to_hex(found) + " where " +
                             base::to_hex(expected) + " was expected; nothing was attached");
}

} // namespace

base::Result<> verify_sites(uint32_t pid, std::span<const plan::FunctionSite> sites) {
  const auto path = "/proc/" + std::to_string(pid) + "/exe";
  base::Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    auto error = base::errno_error("open " + path, errno);
    error.reason = errno == ENOENT ? "PROCESS_GONE" : "INTERNAL";
    return error;
  }
  for (const auto& site : sites) TRY(verify_site(file, site));
  return {};
}

} // namespace agent::probe
