// What sonded can be told: flags over environment (SONDE_…) over a YAML file over defaults.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace controlplane::app {

struct ListenAddress {
  std::string address; // an IP address
  uint16_t port = 0;   // 0: any free one
};

enum class RestTls { kAuto, kOn, kOff };

struct Settings {
  std::filesystem::path state_dir = "/var/lib/sonde";
  std::string database_url; // empty: a private PostgreSQL in state_dir
  ListenAddress grpc{"127.0.0.1", 7443};
  ListenAddress rest{"127.0.0.1", 7480};
  ListenAddress metrics{"127.0.0.1", 7490};
  RestTls rest_tls = RestTls::kAuto;     // kAuto: plaintext on loopback, TLS elsewhere
  std::vector<std::string> server_names; // further names in the certificate
  std::filesystem::path
      tls_certificate; // both or none: instead of a certificate of our own authority, for REST
  std::filesystem::path tls_key;
  std::filesystem::path api_tokens; // empty: made in state_dir at the first start
  std::string trust_domain = "sonde.local";
  std::map<std::string, std::string> otlp_destinations; // name → host:port
  size_t workers = 8; // calls at a time, and so connections to the database
  std::chrono::seconds agent_certificate_lifetime{24 * 3600};
  std::chrono::seconds lease{30};
  std::chrono::seconds drain{10}; // for calls under way at the end
  int keep_results_days = 7;
  int keep_sessions_days = 30; // after their end, and never shorter than results
  int keep_audit_days = 400;
  std::string user = "sonde"; // when started as root
  std::string log_level = "info";
  bool log_json = false;
};

// What to do after the command line was read.
struct CommandLine {
  enum class Action { kServe, kPrint, kFail };
  Action action = Action::kServe;
  std::string text; // of kPrint (help, version, configuration) and kFail
  Settings settings;
};

// Reads arguments, environment and the file that --config names. Never throws.
CommandLine read_command_line(int argc, const char* const* argv);

} // namespace controlplane::app
