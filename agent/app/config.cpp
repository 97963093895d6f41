#include "agent/app/config.h"

#include <CLI/CLI.hpp>
#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <iostream>

namespace agent::app {
namespace {

constexpr const char* kDefaultFile = "/etc/sonde/agent.yaml";

constexpr const char* kDescription =
    "sonde-agent watches the Go processes of this host for the control plane.\n\n"
    "It loads BPF programs only while a session needs them, and leaves nothing behind when it "
    "ends, however it\n"
    "ends. On its first start it trades a join token for a certificate, which it keeps in the "
    "state directory.";

constexpr const char* kFooter =
    "\nFirst start:\n"
    "  sonde token create -l env=prod > /run/sonde-token        (on your machine; one use, ten "
    "minutes)\n"
    "  sonde-agent --server sonde.example:7443 --join-token-file /run/sonde-token\n"
    "Every later start:\n"
    "  sonde-agent --server sonde.example:7443\n\n"
    "Needs Linux 5.15 or later with BTF, and the capabilities CAP_BPF, CAP_PERFMON,\n"
    "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, as any user; as root also CAP_SETUID and CAP_SETGID,\n"
    "with which the process that reads binaries becomes nobody. CAP_SYS_RESOURCE is not needed.\n\n"
    "The file has the long names of the flags as keys:\n"
    "  server: [sonde.example:7443]\n"
    "  state-dir: /var/lib/sonde-agent\n"
    "  policy: /etc/sonde/policy.yaml\n"
    "  label: {rack: r7, team: shop}\n\n"
    "The policy forbids probes and processes on this host; the control plane cannot override it:\n"
    "  forbiddenProbes: [sql]\n"
    "  neverTouch: {executables: [\"/usr/bin/vault*\"], services: [payments], pids: [4711]}\n"
    "  limits: {sessions: 4, cpuFraction: 0.05, eventsPerSecond: 20000}\n\n"
    "Exit codes: 0 ended by a signal, 1 it could not run, 2 the command line or a file is wrong.\n";

// What flags and variables may say; labels are "key=value" until they are all known.
struct Words {
  Config config;
  std::vector<std::string> labels;
  std::string log_format = "text";
};

std::string read_text(const YAML::Node& node) { return node.as<std::string>(); }

std::vector<std::string> read_list(const YAML::Node& node) {
  if (node.IsSequence()) return node.as<std::vector<std::string>>();
  return {node.as<std::string>()};
}

std::vector<std::string> read_labels(const YAML::Node& node) {
  if (!node.IsMap()) return read_list(node);
  std::vector<std::string> labels;
  for (const auto& entry : node)
    labels.push_back(entry.first.as<std::string>() + "=" + entry.second.as<std::string>());
  return labels;
}

// Throws YAML::Exception.
base::Result<> read_file(const std::string& path, Words& words) {
  for (const auto& entry : YAML::LoadFile(path)) {
    const auto key = entry.first.as<std::string>();
    if (key == "server")
      words.config.servers = read_list(entry.second);
    else if (key == "state-dir")
      words.config.state_dir = read_text(entry.second);
    else if (key == "join-token-file")
      words.config.join_token_file = read_text(entry.second);
    else if (key == "policy")
      words.config.policy_file = read_text(entry.second);
    else if (key == "label")
      words.labels = read_labels(entry.second);
    else if (key == "hostname")
      words.config.hostname = read_text(entry.second);
    else if (key == "nice")
      words.config.nice = entry.second.as<int>();
    else if (key == "log-format")
      words.log_format = read_text(entry.second);
    else if (key == "log-level")
      words.config.log_level = read_text(entry.second);
    else
      return base::invalid_argument("CONFIG_INVALID", path + ": unknown key '" + key + "'");
  }
  return {};
}

// The file is the weakest source, so it is read before everything else sets its values over it.
base::Result<> read_config_file(int argc, const char* const* argv, Words& words) {
  std::string path;
  CLI::App finder;
  finder.allow_extras();
  finder.set_help_flag();
  finder.add_option("-c,--config", path)->envname("SONDE_CONFIG");
  try {
    finder.parse(argc, argv);
  } catch (const CLI::Error&) {
    return {}; // the real parser says it better
  }
  if (path.empty()) {
    if (!std::filesystem::exists(kDefaultFile)) return {};
    path = kDefaultFile;
  }
  try {
    return read_file(path, words);
  } catch (const YAML::Exception& exception) {
    return base::invalid_argument("CONFIG_INVALID", path + ": " + exception.what());
  }
}

void add_options(CLI::App& app, Words& words) {
  static std::string config_file; // read_config_file has looked at it already
  app.add_option("-c,--config", config_file, "YAML file with defaults for all of these")
      ->envname("SONDE_CONFIG")
      ->type_name("FILE")
      ->default_str(kDefaultFile);
  auto& config = words.config;
  app.add_option(
         "-s,--server", config.servers, "control plane to connect to; several are tried in turn")
      ->envname("SONDE_SERVER")
      ->type_name("HOST:PORT")
      ->delimiter(',');
  app.add_option(
         "--join-token-file", config.join_token_file,
         "file with a join token, for the first start (or SONDE_JOIN_TOKEN)")
      ->envname("SONDE_JOIN_TOKEN_FILE")
      ->type_name("FILE");
  app.add_option(
         "--state-dir", config.state_dir, "key, certificate and the cache of analysed binaries")
      ->capture_default_str()
      ->envname("SONDE_STATE_DIR")
      ->type_name("DIR");
  app.add_option(
         "--policy", config.policy_file, "what this host forbids, whatever the control plane asks")
      ->envname("SONDE_POLICY")
      ->type_name("FILE");
  app.add_option(
         "-l,--label", words.labels, "reported label of this host; for selectors, never for access")
      ->envname("SONDE_LABELS")
      ->type_name("KEY=VALUE")
      ->delimiter(',');
  app.add_option("--hostname", config.hostname, "name of this host, instead of the kernel's")
      ->envname("SONDE_HOSTNAME")
      ->type_name("NAME");
  app.add_option("--nice", config.nice, "how far the agent stands back when the host is busy")
      ->capture_default_str()
      ->envname("SONDE_NICE")
      ->type_name("0…19");
  app.add_option("--log-level", config.log_level, "debug, info, warn or error")
      ->capture_default_str()
      ->envname("SONDE_LOG_LEVEL")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}));
  app.add_option("--log-format", words.log_format, "text, or json for one object a line")
      ->capture_default_str()
      ->envname("SONDE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}));
}

base::Result<Config> finish(Words words) {
  auto& config = words.config;
  if (config.servers.empty())
    return base::invalid_argument(
        "SERVER_MISSING", "say where the control plane is: --server HOST:PORT or SONDE_SERVER");
  if (config.nice < 0 || config.nice > kNiceMax)
    return base::invalid_argument(
        "NICE_INVALID",
        "nice is 0 (as important as the services) to 19, not " + std::to_string(config.nice));
  for (const auto& label : words.labels) {
    const auto equals = label.find('=');
    if (equals == 0 || equals == std::string::npos)
      return base::invalid_argument("LABEL_INVALID", "a label is KEY=VALUE, not '" + label + "'");
    config.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  if (const char* token = std::getenv("SONDE_JOIN_TOKEN")) config.join_token = token;
  config.log_format = words.log_format == "json" ? base::LogFormat::kJson : base::LogFormat::kText;
  return std::move(config);
}

Invocation mistake(const base::Error& error) {
  std::cerr << "sonde-agent: " << error.message << "\nTry sonde-agent --help.\n";
  return {std::nullopt, 2};
}

} // namespace

Invocation parse_command_line(int argc, const char* const* argv) {
  Words words;
  if (auto read = read_config_file(argc, argv, words); !read) return mistake(read.error());
  CLI::App app(kDescription, "sonde-agent");
  app.footer(kFooter);
  app.set_version_flag("--version", "sonde-agent " SONDE_VERSION);
  add_options(app, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return {std::nullopt, code == 0 ? 0 : 2};
  }
  auto config = finish(std::move(words));
  if (!config) return mistake(config.error());
  return {*std::move(config), 0};
}

} // namespace agent::app
