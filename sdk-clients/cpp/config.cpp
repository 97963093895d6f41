#include "sdk-clients/cpp/config.h"

#include "sdk-clients/cpp/limits.h"

#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sonde {

using base::Error;
using base::Result;

namespace {

Result<std::string> read_file(const std::string& path, std::string_view what) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    auto error = base::errno_error("read the " + std::string(what) + " " + path, errno);
    error.reason = "FILE_UNREADABLE";
    return error;
  }
  std::string text(limits::kConfigFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > limits::kConfigFileBytesMax)
    return base::invalid_argument("FILE_TOO_LARGE", path + " is no " + std::string(what));
  return text;
}

std::string first_line(const std::string& text) {
  auto line = text.substr(0, text.find('\n'));
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

// Fields that `over` leaves open. A token and a token file are one thing said in two ways: the
// higher source wins as a whole.
ConfigSource merge(ConfigSource over, const ConfigSource& under) {
  if (!over.server) over.server = under.server;
  if (!over.ca_file) over.ca_file = under.ca_file;
  if (!over.token && !over.token_file) {
    over.token = under.token;
    over.token_file = under.token_file;
  }
  return over;
}

ConfigSource from_environment(const Environment& environment) {
  return {
      environment("SONDE_SERVER"), environment("SONDE_TOKEN"), environment("SONDE_TOKEN_FILE"),
      environment("SONDE_CA")};
}

std::string default_config_file(const Environment& environment) {
  if (auto folder = environment("XDG_CONFIG_HOME")) return *folder + "/sonde/config.yaml";
  if (auto home = environment("HOME")) return *home + "/.config/sonde/config.yaml";
  return {};
}

Result<ConfigSource> parse_config_file(const std::string& path) {
  auto text = TRY(read_file(path, "configuration"));
  ConfigSource source;
  try {
    const auto root = YAML::Load(text);
    if (root.IsNull()) return source;
    for (const auto& entry : root) {
      const auto key = entry.first.as<std::string>();
      const auto value = entry.second.as<std::string>();
      if (key == "server")
        source.server = value;
      else if (key == "token")
        source.token = value;
      else if (key == "tokenFile")
        source.token_file = value;
      else if (key == "ca")
        source.ca_file = value;
      else
        return base::invalid_argument(
            "CONFIG_FILE_INVALID",
            path + ": unknown key \"" + key + "\"; known are server, token, tokenFile and ca");
    }
  } catch (const YAML::Exception& error) {
    return base::invalid_argument("CONFIG_FILE_INVALID", path + ": " + error.what());
  }
  return source;
}

Result<ConfigSource> from_file(const std::string& named, const Environment& environment) {
  if (!named.empty()) return parse_config_file(named);
  const auto path = default_config_file(environment);
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored)) return ConfigSource{};
  return parse_config_file(path);
}

// A sonded of this host, as it sets itself up. The token is readable for whoever may administer it.
ConfigSource from_local_server(const std::string& state) {
  std::error_code ignored;
  if (!std::filesystem::exists(state + "/ca.pem", ignored)) return {};
  ConfigSource source{.server = "127.0.0.1:7443", .ca_file = state + "/ca.pem"};
  if (std::ifstream(state + "/admin.token")) source.token_file = state + "/admin.token";
  return source;
}

// gRPC takes a name without a port for one with 443, and a port too high modulo 65536.
bool is_address(const std::string& server) {
  const auto colon = server.rfind(':');
  if (colon == server.npos || colon == 0) return false;
  const auto port = server.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos)
    return false;
  const int number = std::stoi(port);
  return number > 0 && number <= 65535;
}

} // namespace

Environment process_environment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
}

Result<ClientConfig> load_config(
    const ConfigSource& flags, const Environment& environment, const std::string& config_file,
    const std::string& local_state) {
  auto source = merge(flags, from_environment(environment));
  source = merge(std::move(source), TRY(from_file(config_file, environment)));
  // Its authority signs nobody else's certificate.
  if (!source.server) source = merge(std::move(source), from_local_server(local_state));
  if (!source.server)
    return base::failed_precondition(
        "SERVER_MISSING", "which server? Give --server HOST:PORT, set SONDE_SERVER, or write "
                          "\"server: HOST:PORT\" into ~/.config/sonde/config.yaml");
  if (!is_address(*source.server))
    return base::invalid_argument(
        "SERVER_ADDRESS_INVALID",
        "\"" + *source.server +
            "\" is no address of a server: write HOST:PORT, e.g. sonde.example:7443");
  if (!source.token && !source.token_file)
    return Error{
        base::Code::kUnauthenticated,
        "TOKEN_MISSING",
        "who are you? Give --token-file FILE, set SONDE_TOKEN or SONDE_TOKEN_FILE, or write "
        "\"tokenFile: FILE\" into ~/.config/sonde/config.yaml",
        {}};
  ClientConfig config;
  config.server = *source.server;
  config.token =
      source.token ? *source.token : first_line(TRY(read_file(*source.token_file, "API token")));
  if (config.token.empty())
    return Error{
        base::Code::kUnauthenticated,
        "TOKEN_MISSING",
        *source.token_file + " has no token in it",
        {}};
  if (source.ca_file) {
    config.ca_file = *source.ca_file;
    config.authorities = TRY(read_file(config.ca_file, "certificate authority"));
    if (config.authorities.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
      return base::invalid_argument(
          "FILE_INVALID",
          config.ca_file +
              " holds no certificate (PEM); ca.pem in the state directory of sonded does");
  }
  return config;
}

} // namespace sonde
