// Structured log lines on stderr: one JSON object a line, or text for a terminal. Thread-safe.
// Log where an error stops, once; never log and return.
#pragma once

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace base {

enum class LogFormat { kText, kJson };

// Call once in main, before threads. `level` is trace|debug|info|warn|error (unknown: info).
void set_up_log(std::string_view program, LogFormat format, std::string_view level);

namespace log {
template <class... A> void debug(fmt::format_string<A...> f, A&&... a) {
  spdlog::debug(f, std::forward<A>(a)...);
}
template <class... A> void info(fmt::format_string<A...> f, A&&... a) {
  spdlog::info(f, std::forward<A>(a)...);
}
template <class... A> void warn(fmt::format_string<A...> f, A&&... a) {
  spdlog::warn(f, std::forward<A>(a)...);
}
template <class... A> void error(fmt::format_string<A...> f, A&&... a) {
  spdlog::error(f, std::forward<A>(a)...);
}
} // namespace log

} // namespace base
