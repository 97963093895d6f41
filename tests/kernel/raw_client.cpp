#include "tests/kernel/raw_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>

namespace kernel_test {

RawClient::RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    socket_.reset();
}

uint16_t RawClient::local_port() const {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

void RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

bool RawClient::wait_readable() {
  pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&ready, 1, 20'000) == 1;
}

std::string RawClient::read_until(std::string_view needle) {
  std::string text = std::move(rest_);
  rest_.clear();
  std::array<char, 65536> buffer;
  while (text.find(needle) == std::string::npos && wait_readable()) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  if (const size_t at = text.find(needle); at != std::string::npos) {
    rest_ = text.substr(at + needle.size());
    text.resize(at + needle.size());
  }
  return text;
}

std::string RawClient::read_to_end() {
  std::string text = std::move(rest_);
  rest_.clear();
  std::array<char, 65536> buffer;
  while (wait_readable()) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return text;
}

std::string RawClient::ask(std::string_view request) {
  send(request);
  std::string answer = read_until("\r\n\r\n");
  constexpr std::string_view kLength = "Content-Length: ";
  const size_t at = answer.find(kLength);
  if (at == std::string::npos) return answer;
  const size_t length = std::strtoul(answer.c_str() + at + kLength.size(), nullptr, 10);
  std::array<char, 65536> buffer;
  while (rest_.size() < length && wait_readable()) {
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got <= 0) break;
    rest_.append(buffer.data(), static_cast<size_t>(got));
  }
  answer += rest_.substr(0, length);
  rest_.erase(0, length);
  return answer;
}

void RawClient::close_write() { ::shutdown(socket_.get(), SHUT_WR); }

void RawClient::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  socket_.reset();
}

std::string get(std::string_view target, std::string_view headers) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n" + std::string(headers) +
         "\r\n";
}

} // namespace kernel_test
