#include "controlplane/app/settings.h"

#include "controlplane/export/destination.h"

#include <CLI/CLI.hpp>
#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

namespace controlplane::app {
namespace {

using base::Result;

constexpr char kDescription[] =
    R"(sonded, the control plane of Sonde: keeps tracing sessions, pushes them to the agents of a fleet, and
collects what they find.

Without --database-url it starts a PostgreSQL of its own in the state directory. Started as root it goes on as the
user that --user names. At the first start it makes a certificate authority, and without --api-tokens a token with
role admin whose place it prints.)";

constexpr char kFooter[] = R"(
Every flag is also an environment variable (--state-dir is SONDE_STATE_DIR) and a key of the YAML file that
--config names (state-dir: /var/lib/sonde). Flags win over environment, environment over file.

Examples:
  sonded                                            # everything on this machine, loopback only
  sonded --listen-grpc 0.0.0.0:7443 --server-name sonde.example.com
  sonded --database-url postgresql://sonde@db/sonde --otlp tempo=tempo.monitoring:4317
  sonded --print-config                             # what would be used, secrets left out)";

// What CLI11 reads texts into, before they are understood.
struct RawSettings {
  std::string grpc = "127.0.0.1:7443";
  std::string rest = "127.0.0.1:7480";
  std::string metrics = "127.0.0.1:7490";
  std::string rest_tls = "auto";
  std::string log_format = "text";
  std::vector<std::string> otlp;
  uint64_t agent_certificate_seconds = 86'400;
  uint64_t lease_seconds = 30;
  uint64_t drain_seconds = 10;
  std::string config;
  bool print_config = false;
};

base::Error bad_setting(std::string_view flag, std::string_view value, std::string_view expected) {
  return base::invalid_argument(
      "INVALID_SETTING", fmt::format("--{} {}: expected {}", flag, value, expected));
}

Result<ListenAddress> parse_listen(std::string_view flag, const std::string& text) {
  constexpr std::string_view kExpected = "ADDRESS:PORT, such as 127.0.0.1:7443 or [::]:7443";
  auto colon = text.rfind(':');
  if (colon == std::string::npos) return bad_setting(flag, text, kExpected);
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  boost::asio::ip::make_address(host, error);
  ListenAddress listen{host, 0};
  const char* end = text.data() + text.size();
  auto [read, problem] = std::from_chars(text.data() + colon + 1, end, listen.port);
  if (error || problem != std::errc() || read != end) return bad_setting(flag, text, kExpected);
  return listen;
}

Result<RestTls> parse_rest_tls(const std::string& text) {
  if (text == "auto") return RestTls::kAuto;
  if (text == "on") return RestTls::kOn;
  if (text == "off") return RestTls::kOff;
  return bad_setting("rest-tls", text, "auto, on or off");
}

Result<std::map<std::string, std::string>>
parse_destinations(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> destinations;
  for (const auto& text : texts) {
    auto equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
      return bad_setting("otlp", text, "NAME=HOST:PORT, such as default=collector:4317");
    const auto name = text.substr(0, equals);
    if (auto parsed = exporter::parse_destination(name, text.substr(equals + 1)); !parsed)
      return bad_setting("otlp", text, "NAME=HOST:PORT; " + parsed.error().message);
    destinations[name] = text.substr(equals + 1);
  }
  return destinations;
}

bool is_loopback(const ListenAddress& listen) {
  boost::system::error_code error;
  return boost::asio::ip::make_address(listen.address, error).is_loopback();
}

Result<> check_listeners(const RawSettings& raw, const Settings& settings) {
  if (!is_loopback(settings.metrics))
    return bad_setting(
        "listen-metrics", raw.metrics,
        "a loopback address such as 127.0.0.1:7490: metrics are plaintext and ask for no token; a "
        "Prometheus elsewhere reaches them through a proxy on this machine");
  if (settings.rest_tls == RestTls::kOff && !is_loopback(settings.rest))
    return bad_setting(
        "rest-tls", raw.rest_tls,
        fmt::format(
            "auto or on beside --listen-rest {}: tokens would travel in plaintext; only a loopback "
            "address may be without TLS",
            raw.rest));
  const auto same = [](const ListenAddress& a, const ListenAddress& b) {
    return a.port != 0 && a.port == b.port && a.address == b.address;
  };
  if (same(settings.grpc, settings.rest))
    return bad_setting("listen-rest", raw.rest, "another port than --listen-grpc");
  if (same(settings.metrics, settings.grpc) || same(settings.metrics, settings.rest))
    return bad_setting(
        "listen-metrics", raw.metrics, "another port than --listen-grpc and --listen-rest");
  return {};
}

Result<> understand(const RawSettings& raw, Settings& settings) {
  settings.grpc = TRY(parse_listen("listen-grpc", raw.grpc));
  settings.rest = TRY(parse_listen("listen-rest", raw.rest));
  settings.metrics = TRY(parse_listen("listen-metrics", raw.metrics));
  settings.rest_tls = TRY(parse_rest_tls(raw.rest_tls));
  TRY(check_listeners(raw, settings));
  settings.otlp_destinations = TRY(parse_destinations(raw.otlp));
  settings.agent_certificate_lifetime = std::chrono::seconds(raw.agent_certificate_seconds);
  settings.lease = std::chrono::seconds(raw.lease_seconds);
  settings.drain = std::chrono::seconds(raw.drain_seconds);
  if (raw.log_format != "text" && raw.log_format != "json")
    return bad_setting("log-format", raw.log_format, "text or json");
  constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warn", "error"};
  if (std::find(std::begin(kLevels), std::end(kLevels), settings.log_level) == std::end(kLevels))
    return bad_setting("log-level", settings.log_level, "trace, debug, info, warn or error");
  settings.log_json = raw.log_format == "json";
  if (settings.tls_certificate.empty() != settings.tls_key.empty())
    return bad_setting("tls-certificate", settings.tls_certificate.string(), "--tls-key beside it");
  return {};
}

// "state-dir" → SONDE_STATE_DIR.
std::string environment_name(std::string flag) {
  for (char& c : flag)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return "SONDE_" + flag;
}

template <class T>
CLI::Option* add(CLI::App& cli, const std::string& flag, T& value, const std::string& help) {
  return cli.add_option("--" + flag, value, help)
      ->capture_default_str()
      ->envname(environment_name(flag));
}

void declare_network(CLI::App& cli, RawSettings& raw, Settings& settings) {
  add(cli, "listen-grpc", raw.grpc, "gRPC, TLS: agents by certificate, people by API token")
      ->group("Network");
  add(cli, "listen-rest", raw.rest, "REST")->group("Network");
  add(cli, "listen-metrics", raw.metrics,
      "Prometheus metrics at /metrics, plaintext, loopback only")
      ->group("Network");
  add(cli, "rest-tls", raw.rest_tls, "TLS for REST: auto (off on loopback only), on, off")
      ->group("Network");
  add(cli, "server-name", settings.server_names,
      "a name or address clients use for us, for the certificate")
      ->group("Network");
  add(cli, "tls-certificate", settings.tls_certificate,
      "PEM chain for REST instead of one of our authority")
      ->group("Network");
  add(cli, "tls-key", settings.tls_key, "PEM key of --tls-certificate")->group("Network");
}

void declare_state(CLI::App& cli, Settings& settings) {
  add(cli, "state-dir", settings.state_dir, "certificate authority, and the private PostgreSQL")
      ->group("State");
  add(cli, "database-url", settings.database_url,
      "libpq connection string; empty: a private PostgreSQL")
      ->group("State");
  add(cli, "user", settings.user, "who sonded becomes when started as root")->group("State");
  add(cli, "workers", settings.workers, "calls at a time")
      ->check(CLI::Range(2, 64))
      ->group("State");
}

void declare_identity(CLI::App& cli, RawSettings& raw, Settings& settings) {
  add(cli, "api-tokens", settings.api_tokens,
      "file with `name role sha256hex(token)` lines; read again on change")
      ->group("Identity");
  add(cli, "trust-domain", settings.trust_domain, "of the agents' SPIFFE ids")->group("Identity");
  add(cli, "agent-certificate-seconds", raw.agent_certificate_seconds,
      "life of an agent's certificate")
      ->check(CLI::Range(10, 30 * 86400))
      ->group("Identity");
}

void declare_rest(CLI::App& cli, RawSettings& raw, Settings& settings) {
  add(cli, "otlp", raw.otlp, "NAME=HOST:PORT, an OTLP/gRPC destination that sessions may name")
      ->group("Results");
  add(cli, "keep-results-days", settings.keep_results_days, "how long spans are kept")
      ->check(CLI::Range(1, 365))
      ->group("Results");
  add(cli, "keep-sessions-days", settings.keep_sessions_days,
      "how long a session is kept after its end; never shorter than its results")
      ->check(CLI::Range(1, 3650))
      ->group("Results");
  add(cli, "keep-audit-days", settings.keep_audit_days, "how long the audit log is kept")
      ->check(CLI::Range(1, 36'500))
      ->group("Results");
  add(cli, "lease-seconds", raw.lease_seconds, "how long agents keep probes without us")
      ->check(CLI::Range(5, 600))
      ->group("Agents");
  add(cli, "drain-seconds", raw.drain_seconds, "how long calls under way may take at the end")
      ->check(CLI::Range(0, 600))
      ->group("Process");
  add(cli, "log-level", settings.log_level, "trace, debug, info, warn or error")->group("Process");
  add(cli, "log-format", raw.log_format, "text or json")->group("Process");
  add(cli, "config", raw.config, "YAML file with any of these settings")->group("Process");
  cli.add_flag(
         "--print-config", raw.print_config, "prints the settings that would be used, and ends")
      ->group("Process");
}

// What neither a flag nor the environment said is taken from the file.
Result<> read_file(const std::string& path, CLI::App& cli) {
  try {
    for (const auto& entry : YAML::LoadFile(path)) {
      auto key = entry.first.as<std::string>();
      auto* option = cli.get_option_no_throw("--" + key);
      if (!option || key == "config" || key == "help")
        return base::invalid_argument(
            "INVALID_SETTING", fmt::format("{}: unknown key \"{}\"", path, key));
      if (option->count() > 0) continue;
      if (entry.second.IsSequence())
        option->add_result(entry.second.as<std::vector<std::string>>());
      else
        option->add_result(entry.second.as<std::string>());
      option->run_callback();
    }
  } catch (const YAML::Exception& error) {
    return base::invalid_argument("INVALID_SETTING", fmt::format("{}: {}", path, error.what()));
  } catch (const CLI::ParseError& error) {
    return base::invalid_argument("INVALID_SETTING", fmt::format("{}: {}", path, error.what()));
  }
  return {};
}

// A database URL may hold a password.
std::string redacted(const std::string& url) {
  auto scheme = url.find("://");
  auto at = url.find('@', scheme == std::string::npos ? 0 : scheme);
  if (scheme != std::string::npos && at != std::string::npos) {
    auto colon = url.find(':', scheme + 3);
    if (colon != std::string::npos && colon < at)
      return url.substr(0, colon + 1) + "***" + url.substr(at);
  }
  auto password = url.find("password=");
  if (password == std::string::npos) return url;
  auto end = url.find_first_of(" &", password);
  return url.substr(0, password + 9) + "***" + (end == std::string::npos ? "" : url.substr(end));
}

std::string print(const CLI::App& cli, const Settings& settings) {
  YAML::Emitter yaml;
  yaml << YAML::BeginMap;
  for (const auto* option : cli.get_options()) {
    auto name = option->get_single_name();
    if (name == "help" || name == "version" || name == "config" || name == "print-config") continue;
    yaml << YAML::Key << name << YAML::Value;
    if (name == "database-url")
      yaml << redacted(settings.database_url);
    else if (option->get_items_expected_max() > 1)
      yaml << YAML::Flow << option->results();
    else
      yaml << (option->count() > 0 ? option->results().back() : option->get_default_str());
  }
  yaml << YAML::EndMap;
  return std::string(yaml.c_str()) + "\n";
}

CommandLine failed(const std::string& message) {
  return {CommandLine::Action::kFail, message + "\nsonded --help explains every setting\n", {}};
}

} // namespace

CommandLine read_command_line(int argc, const char* const* argv) {
  CommandLine line;
  RawSettings raw;
  CLI::App cli(kDescription, "sonded");
  cli.footer(kFooter);
  cli.set_version_flag("--version", "sonded " SONDE_VERSION);
  declare_network(cli, raw, line.settings);
  declare_state(cli, line.settings);
  declare_identity(cli, raw, line.settings);
  declare_rest(cli, raw, line.settings);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    int status = cli.exit(error, out, err);
    if (status == 0) return {CommandLine::Action::kPrint, out.str(), {}};
    return failed(error.what());
  }
  if (!raw.config.empty()) {
    if (auto read = read_file(raw.config, cli); !read) return failed(read.error().message);
  }
  if (auto understood = understand(raw, line.settings); !understood)
    return failed(understood.error().message);
  if (raw.print_config) return {CommandLine::Action::kPrint, print(cli, line.settings), {}};
  return line;
}

} // namespace controlplane::app
