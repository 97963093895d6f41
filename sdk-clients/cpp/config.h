// Where the server is and who we are: flags over environment over file.
#pragma once

#include "base/result.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace sonde {

// What a caller has said so far; unset fields are filled from the next source.
struct ConfigSource {
  std::optional<std::string> server;     // host:port of the gRPC listener
  std::optional<std::string> token;      // the API token itself
  std::optional<std::string> token_file; // a file with the token in its first line
  std::optional<std::string> ca_file;    // certificates that may sign the server's, PEM
};

// Complete: everything a Client needs, nothing left to read.
struct ClientConfig {
  std::string server;
  std::string token;
  std::string authorities; // PEM; empty for those the system trusts
  std::string ca_file;     // where they came from, for messages
  std::chrono::milliseconds timeout{15'000};
};

// Empty for a variable that is not set.
using Environment = std::function<std::optional<std::string>(const char* name)>;
Environment process_environment();

// Where a sonded on this host keeps its authority and the token of its first start, when it was
// told nothing else.
inline constexpr char kLocalStateFolder[] = "/var/lib/sonde";

// Resolves flags over SONDE_SERVER, SONDE_TOKEN, SONDE_TOKEN_FILE, SONDE_CA over the file
// `config_file` (empty: $XDG_CONFIG_HOME/sonde/config.yaml, else ~/.config/sonde/config.yaml, which
// may be missing). SERVER_MISSING, SERVER_ADDRESS_INVALID, TOKEN_MISSING, CONFIG_FILE_INVALID or
// FILE_UNREADABLE or FILE_INVALID (an authority without a certificate), with what to do.
base::Result<ClientConfig> load_config(
    const ConfigSource& flags, const Environment& environment, const std::string& config_file,
    const std::string& local_state = kLocalStateFolder);

} // namespace sonde
