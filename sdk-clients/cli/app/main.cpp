// sonde: the command line of the control plane.
#include "sdk-clients/cli/command_line.h"
#include "sdk-clients/cli/limits.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>

namespace {

using cli::Context;
using cli::ExitCode;
using cli::Format;

cli::Style style_of(int fd) {
  cli::Style style{.colour = false, .columns = cli::limits::kTerminalColumnsDefault};
  if (isatty(fd) == 0) return style;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  style.colour = (no_colour == nullptr || *no_colour == '\0') &&
                 (terminal == nullptr || std::string_view(terminal) != "dumb");
  style.wraps = true;
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.columns = size.ws_col;
  if (const char* wanted = std::getenv("COLUMNS"))
    if (const auto columns = std::strtoul(wanted, nullptr, 10); columns > 0)
      style.columns = std::max<size_t>(columns, cli::limits::kTerminalColumnsMin);
  return style;
}

ExitCode report(const base::Error& error, Format format) {
  const auto code = cli::exit_code_of(error);
  if (format == Format::kJson) {
    const boost::json::value json = {
        {"error",
         {{"code", static_cast<int>(error.code)},
          {"reason", error.reason},
          {"message", error.message},
          {"field", error.field},
          {"exitCode", static_cast<int>(code)}}}};
    fmt::print(stderr, "{}\n", boost::json::serialize(json));
    return code;
  }
  fmt::print(stderr, "sonde: {}\n", error.message);
  if (!error.reason.empty() && error.reason != "USAGE")
    fmt::print(
        stderr, "  reason: {}{}\n", error.reason, error.field.empty() ? "" : " at " + error.field);
  return code;
}

ExitCode run(const cli::Invocation& invocation) {
  auto config = sonde::load_config(
      invocation.global.source, sonde::process_environment(), invocation.global.config_file);
  if (!config) return report(config.error(), invocation.global.format);
  if (invocation.global.timeout.count() > 0)
    config->timeout = std::chrono::ceil<std::chrono::milliseconds>(invocation.global.timeout);
  sonde::Client client(*std::move(config));
  cli::Progress progress(isatty(STDERR_FILENO) != 0);
  Context context{
      client, invocation.global.format, style_of(STDOUT_FILENO), isatty(STDOUT_FILENO) != 0,
      progress};
  const auto outcome = invocation.command(context);
  progress.clear();
  return outcome ? *outcome : report(outcome.error(), invocation.global.format);
}

// Of a command line that could not be understood.
bool wants_json(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto& word = arguments[i];
    if (word == "-ojson" || word == "--output=json") return true;
    if ((word == "-o" || word == "--output") && i + 1 < arguments.size() &&
        arguments[i + 1] == "json")
      return true;
  }
  return false;
}

// "sonde: what\n  more\n" without its frame.
std::string bare_message(std::string text) {
  constexpr std::string_view kFrame = "sonde: ";
  if (text.starts_with(kFrame)) text.erase(0, kFrame.size());
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

} // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, cli::leave_on_interrupt);
  // gRPC speaks up on standard error about every refused connection; our own message says it
  // better.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto parsed = cli::parse_command_line(arguments);
  if (const auto* invocation = std::get_if<cli::Invocation>(&parsed)) return run(*invocation);
  const auto& answer = std::get<cli::Answer>(parsed);
  if (answer.exit_code == cli::kUsage && wants_json(arguments))
    return report(base::invalid_argument("USAGE", bare_message(answer.err)), Format::kJson);
  fmt::print("{}", answer.out);
  fmt::print(stderr, "{}", answer.err);
  return answer.exit_code;
}
