// A TCP client that sends exactly the bytes it is told, in the pieces it is told. For tests only.
#pragma once

#include "base/fd.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace kernel_test {

class RawClient {
 public:
  explicit RawClient(uint16_t port); // connects to 127.0.0.1
  bool connected() const { return static_cast<bool>(socket_); }
  uint16_t local_port() const;

  void send(std::string_view bytes);
  // Reads until `needle` was seen, the stream ended or 20 s are over; returns all that was read by
  // this call.
  std::string read_until(std::string_view needle);
  std::string read_to_end();
  // One request on this connection and the whole of its answer, which must have a Content-Length.
  std::string ask(std::string_view request);
  void close_write();
  void close() { socket_.reset(); }
  void reset(); // RST instead of FIN

 private:
  bool wait_readable();
  base::Fd socket_;
  std::string rest_;
};

// "GET <target> HTTP/1.1\r\nHost: test\r\n<headers>\r\n"
std::string get(std::string_view target, std::string_view headers = "");

} // namespace kernel_test
