#include "agent/process/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace agent::process {
namespace {

using Clock = std::chrono::steady_clock;

base::Error timed_out() {
  return {base::Code::kDeadlineExceeded, "ANALYSIS_FAILED", "no answer in time", {}};
}

base::Error gone() { return base::unavailable("ANALYSIS_FAILED", "the other side has gone"); }

base::Result<void> wait_readable(int socket, Clock::time_point deadline) {
  while (true) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() < 0) return timed_out();
    pollfd ready{socket, POLLIN, 0};
    int n = poll(&ready, 1, static_cast<int>(left.count()) + 1);
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return base::errno_error("poll", errno);
  }
}

base::Result<void> read_exactly(int socket, char* to, size_t size, Clock::time_point deadline) {
  while (size > 0) {
    TRY(wait_readable(socket, deadline));
    ssize_t n = recv(socket, to, size, MSG_DONTWAIT);
    if (n == 0) return gone();
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return gone();
    }
    to += n;
    size -= static_cast<size_t>(n);
  }
  return {};
}

// The first bytes of a message, with which its descriptor comes.
base::Result<size_t> read_head(int socket, char* to, size_t size, base::Fd& descriptor) {
  iovec part{to, size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  if (n <= 0) return gone();
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    descriptor.reset(fd);
  }
  return static_cast<size_t>(n);
}

} // namespace

base::Result<void> send_message(int socket, std::string_view bytes, int descriptor) {
  uint64_t size = bytes.size();
  iovec parts[2] = {{&size, sizeof(size)}, {const_cast<char*>(bytes.data()), bytes.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = 2;
  if (descriptor >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof(descriptor));
  }
  size_t left = sizeof(size) + bytes.size();
  while (left > 0) {
    ssize_t n = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return gone();
    left -= static_cast<size_t>(n);
    header.msg_control = nullptr;
    header.msg_controllen = 0;
    for (iovec& part : parts) {
      size_t taken = std::min(part.iov_len, static_cast<size_t>(n));
      part.iov_base = static_cast<char*>(part.iov_base) + taken;
      part.iov_len -= taken;
      n -= static_cast<ssize_t>(taken);
    }
  }
  return {};
}

base::Result<Message> receive_message(int socket, uint64_t bytes_max, int timeout_ms) {
  auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  Message message;
  uint64_t size = 0;
  auto* head = reinterpret_cast<char*>(&size);
  TRY(wait_readable(socket, deadline));
  size_t got = TRY(read_head(socket, head, sizeof(size), message.descriptor));
  TRY(read_exactly(socket, head + got, sizeof(size) - got, deadline));
  if (size > bytes_max)
    return base::internal("a message of " + std::to_string(size) + " bytes is too long");
  message.bytes.resize(size);
  TRY(read_exactly(socket, message.bytes.data(), size, deadline));
  return message;
}

} // namespace agent::process
