#include "controlplane/identity/authority.h"

#include "base/fd.h"
#include "base/hex.h"
#include "base/join_token.h"
#include "controlplane/identity/limits.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

namespace controlplane::identity {
namespace {

namespace fs = std::filesystem;
using base::Certificate;
using base::CertificateTemplate;
using base::Error;
using base::PrivateKey;
using base::Result;

constexpr std::string_view kAgentPath = "/agent/";
constexpr size_t kFileBytesMax = 64 * 1024;

fs::path key_file(const fs::path& directory) { return directory / "authority.key"; }
fs::path certificate_file(const fs::path& directory) { return directory / "authority.crt"; }

Error unreadable(const fs::path& path, int error_number) {
  return base::errno_error("authority: " + path.string(), error_number);
}

Result<std::string> read_file(const fs::path& path) {
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return unreadable(path, errno);
  std::string text(kFileBytesMax, '\0');
  ssize_t size = ::read(fd.get(), text.data(), text.size());
  if (size < 0) return unreadable(path, errno);
  text.resize(static_cast<size_t>(size));
  return text;
}

// Whole or not at all: written beside, synced, then renamed.
Result<> write_private_file(const fs::path& path, std::string_view text) {
  fs::path beside = path;
  beside += ".new";
  ::unlink(beside.c_str());
  base::Fd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return unreadable(beside, errno);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0 || ::rename(beside.c_str(), path.c_str()) != 0)
    return unreadable(path, errno);
  return {};
}

// Held while the files are looked for and made, so that two first starts in one directory make one
// authority.
Result<base::Fd> lock(const fs::path& directory) {
  base::Fd fd(::open((directory / "authority.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return unreadable(directory, errno);
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return unreadable(directory, errno);
  return fd;
}

Result<> create(const fs::path& directory, base::Nanoseconds now) {
  PrivateKey key = TRY(PrivateKey::generate());
  CertificateTemplate what{
      .common_name = "Sonde authority " + base::to_hex(base::random_bytes(4)),
      .not_before = now - kClockSkew,
      .not_after = now + kAuthorityLifetime,
      .kind = CertificateTemplate::Kind::kAuthority};
  Certificate certificate = TRY(base::sign_certificate(what, key.get(), nullptr, key));
  // The certificate last: it is what exists() looks for.
  TRY(write_private_file(key_file(directory), key.to_pem()));
  return write_private_file(certificate_file(directory), certificate.to_pem());
}

Error invalid(const fs::path& directory, std::string why) {
  return base::failed_precondition(
      "INVALID_AUTHORITY", "authority.key and authority.crt in " + directory.string() + ": " +
                               std::move(why) + "; restore both from a backup");
}

Error untrusted(std::string why) {
  return {base::Code::kUnauthenticated, "CERTIFICATE_UNTRUSTED", std::move(why), {}};
}

} // namespace

bool Authority::exists(const fs::path& directory) {
  std::error_code ignored;
  return fs::exists(certificate_file(directory), ignored);
}

Result<Authority> Authority::open(Options options, const base::Clock& clock, bool may_create) {
  const fs::path& directory = options.directory;
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed) return unreadable(directory, failed.value());
  base::Fd locked = TRY(lock(directory));
  if (!exists(directory)) {
    if (!may_create)
      return base::failed_precondition(
          "AUTHORITY_MISSING", "this installation has a certificate authority already: copy its "
                               "authority.key and authority.crt to " +
                                   directory.string());
    TRY(create(directory, clock.wall_time()).context("found the certificate authority"));
  }
  auto key = PrivateKey::from_pem(TRY(read_file(key_file(directory))));
  auto certificate = Certificate::from_pem(TRY(read_file(certificate_file(directory))));
  if (!key) return invalid(directory, key.error().message);
  if (!certificate) return invalid(directory, certificate.error().message);
  if (!certificate->belongs_to(*key)) return invalid(directory, "they do not belong together");
  return Authority(std::move(options), clock, *std::move(key), *std::move(certificate));
}

Result<ServerCertificate> Authority::issue_server(std::vector<std::string> names) const {
  names.emplace_back(base::kControlPlaneName);
  PrivateKey key = TRY(PrivateKey::generate());
  base::Nanoseconds now = clock_->wall_time();
  CertificateTemplate what{
      .common_name = "sonded",
      .uris = {"spiffe://" + options_.trust_domain + "/sonded"},
      .dns_names = std::move(names),
      .not_before = now - kClockSkew,
      .not_after = std::min(now + kServerCertificateLifetime, certificate_.not_after()),
      .kind = CertificateTemplate::Kind::kServer};
  Certificate leaf = TRY(base::sign_certificate(what, key.get(), &certificate_, key_));
  return ServerCertificate{leaf.to_pem() + certificate_.to_pem(), key.to_pem()};
}

Result<IssuedCertificate>
Authority::issue_agent(std::string_view agent_id, const base::RequestedKey& key) const {
  base::Nanoseconds now = clock_->wall_time();
  base::Nanoseconds lifetime = options_.agent_certificate_lifetime;
  CertificateTemplate what{
      .common_name = std::string(agent_id),
      .uris =
          {"spiffe://" + options_.trust_domain + std::string(kAgentPath) + std::string(agent_id)},
      .not_before = now - std::min<base::Nanoseconds>(kClockSkew, lifetime / 10),
      .not_after = std::min(now + lifetime, certificate_.not_after()),
      .kind = CertificateTemplate::Kind::kClient};
  Certificate leaf = TRY(base::sign_certificate(what, key.key.get(), &certificate_, key_));
  return IssuedCertificate{leaf.to_pem(), leaf.serial(), leaf.not_before(), leaf.not_after()};
}

Result<AgentCertificate> Authority::verify_agent(std::string_view certificate_pem) const {
  auto certificate = Certificate::from_pem(certificate_pem);
  if (!certificate) return untrusted("the client certificate cannot be read");
  TRY(certificate->verify(certificate_, clock_->wall_time(), Certificate::Use::kClient));
  std::vector<std::string> uris = certificate->uris();
  std::string prefix = "spiffe://" + options_.trust_domain + std::string(kAgentPath);
  if (uris.size() != 1 || !uris.front().starts_with(prefix))
    return untrusted("the client certificate does not name an agent of " + options_.trust_domain);
  return AgentCertificate{
      uris.front().substr(prefix.size()), certificate->serial(), certificate->not_after()};
}

} // namespace controlplane::identity
