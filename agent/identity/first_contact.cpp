#include "agent/identity/first_contact.h"

#include "agent/identity/limits.h"
#include "base/fd.h"
#include "base/join_token.h"
#include "base/x509.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <vector>

namespace agent::identity {
namespace {

using base::Certificate;
using base::Error;
using base::Result;

template <auto Free> struct Deleter {
  template <class T> void operator()(T* object) const { Free(object); }
};
using Addresses = std::unique_ptr<addrinfo, Deleter<freeaddrinfo>>;
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Tls = std::unique_ptr<SSL, Deleter<SSL_free>>;

Error unreachable(const std::string& address, std::string why) {
  return base::unavailable("CONTROL_PLANE_UNREACHABLE", address + ": " + std::move(why));
}

Error mismatch(const std::string& address, std::string why) {
  return {
      base::Code::kPermissionDenied,
      "AUTHORITY_MISMATCH",
      address + " is not the control plane that the join token was made by: " + std::move(why),
      {}};
}

struct HostAndPort {
  std::string host;
  std::string port;
};

Result<HostAndPort> split(const std::string& address) {
  size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size())
    return base::invalid_argument("INVALID_ADDRESS", "\"" + address + "\" is not host:port");
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostAndPort{std::move(host), address.substr(colon + 1)};
}

bool wait_for(int fd, int events, base::Nanoseconds deadline, const base::Clock& clock) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.boot_time());
  if (left.count() <= 0) return false;
  pollfd poll_fd{fd, static_cast<short>(events), 0};
  return poll(&poll_fd, 1, static_cast<int>(left.count())) == 1;
}

Result<base::Fd>
connect_tcp(const std::string& address, base::Nanoseconds deadline, const base::Clock& clock) {
  HostAndPort where = TRY(split(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (int failed = getaddrinfo(where.host.c_str(), where.port.c_str(), &hints, &list))
    return unreachable(address, gai_strerror(failed));
  Addresses addresses(list);
  int error_number = 0;
  for (addrinfo* each = list; each; each = each->ai_next) {
    base::Fd fd(socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) continue;
    if (connect(fd.get(), each->ai_addr, each->ai_addrlen) == 0) return fd;
    error_number = errno;
    if (error_number != EINPROGRESS) continue;
    error_number = ETIMEDOUT;
    if (!wait_for(fd.get(), POLLOUT, deadline, clock)) continue;
    socklen_t size = sizeof(error_number);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error_number, &size);
    if (error_number == 0) return fd;
  }
  return unreachable(address, std::error_code(error_number, std::generic_category()).message());
}

Result<> shake_hands(
    SSL* tls, int fd, const std::string& address, base::Nanoseconds deadline,
    const base::Clock& clock) {
  while (true) {
    ERR_clear_error();
    int done = SSL_connect(tls);
    if (done == 1) return {};
    int why = SSL_get_error(tls, done);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
      return unreachable(address, "no TLS server answers there");
    if (!wait_for(fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline, clock))
      return unreachable(address, "the TLS handshake takes too long");
  }
}

std::vector<Certificate> peer_chain(SSL* tls) {
  std::vector<Certificate> chain;
  STACK_OF(X509)* certificates = SSL_get_peer_cert_chain(tls); // the peer's own one first
  for (int i = 0; i < sk_X509_num(certificates) && i < kServerChainMax; ++i) {
    X509* certificate = sk_X509_value(certificates, i);
    X509_up_ref(certificate);
    chain.push_back(Certificate::adopt(certificate));
  }
  return chain;
}

} // namespace

Result<std::string> fetch_authority(
    const std::string& address, std::string_view authority_sha256, const base::Clock& clock) {
  base::Nanoseconds deadline = clock.boot_time() + kConnectTimeoutMs;
  base::Fd fd = TRY(connect_tcp(address, deadline, clock));
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return base::internal("TLS cannot be set up");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // Verified below, by the hash: no store of authorities knows this one.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  Tls tls(SSL_new(context.get()));
  const unsigned char alpn[] = {2, 'h', '2'};
  SSL_set_alpn_protos(tls.get(), alpn, sizeof(alpn));
  SSL_set_tlsext_host_name(tls.get(), std::string(base::kControlPlaneName).c_str());
  SSL_set_fd(tls.get(), fd.get());
  TRY(shake_hands(tls.get(), fd.get(), address, deadline, clock));

  std::vector<Certificate> chain = peer_chain(tls.get());
  for (const Certificate& authority : chain) {
    if (authority.sha256() != authority_sha256) continue;
    auto verified = chain.front().verify(authority, clock.wall_time(), Certificate::Use::kServer);
    if (!verified) return mismatch(address, verified.error().message);
    return authority.to_pem();
  }
  return mismatch(address, "its authority has another hash");
}

} // namespace agent::identity
