// A Go test program that runs for the length of a scope. For tests only; one thread.
#pragma once

#include "base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace programs {

// build/<preset>/programs/go<version>/<name>: path_of("1.26", "server-stripped").
std::string path_of(std::string_view go_version, std::string_view name);

// Empty when the program is there; otherwise why not ("no network"), for GTEST_SKIP. A program that
// was never built is a mistake of the caller and says "not built".
std::string why_absent(std::string_view go_version, std::string_view name);

class RunningProgram {
 public:
  // Starts it and waits (10 s) for its line "listening <address> …". It dies with this object, and
  // with the thread that called start(). `environment` holds NAME=value, added to ours.
  // PROGRAM_NOT_READY when the line does not come.
  static base::Result<RunningProgram> start(
      const std::string& path, const std::vector<std::string>& arguments = {},
      const std::vector<std::string>& environment = {});
  RunningProgram(RunningProgram&& other) noexcept;
  RunningProgram& operator=(RunningProgram&&) = delete;
  ~RunningProgram();

  pid_t pid() const { return pid_; }
  const std::string& address() const { return address_; } // "127.0.0.1:4711"
  uint16_t port() const { return port_; }
  const std::string& first_line() const { return first_line_; } // "listening 127.0.0.1:4711 mptcp"
  void kill(int signal); // and nothing else: the object still waits for its end
  void stop();           // SIGKILL, and waits; may be called twice

 private:
  RunningProgram() = default;
  pid_t pid_ = -1;
  int output_ = -1; // kept open: a program that prints must not get SIGPIPE
  std::string address_;
  std::string first_line_;
  uint16_t port_ = 0;
};

} // namespace programs
