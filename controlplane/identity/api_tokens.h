// The API tokens of people and tools: a file with one `name role sha256hex(token)` per line.
#pragma once

#include "base/result.h"
#include "controlplane/model/caller.h"

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::identity {

struct ApiToken {
  std::string name;
  model::Role role = model::Role::kNone;
  std::string sha256; // of the token, 32 raw bytes
};

// Empty lines and lines that begin with # are skipped. INVALID_TOKEN_FILE names the first bad line.
base::Result<std::vector<ApiToken>> parse_api_tokens(std::string_view text);

// A new random token: "sonde_" and 43 characters. Only its hash goes to a file of tokens.
std::string new_api_token();

// The line of a token for the file, with its newline.
std::string api_token_line(std::string_view name, model::Role role, std::string_view token);

// The file, read again when it changes (looked at once a second at most). While a changed file does
// not parse, the last good one stays in force. Thread-safe.
class ApiTokens {
 public:
  // Fails when the file cannot be read or parsed now.
  static base::Result<std::unique_ptr<ApiTokens>> open(std::string path);

  // The caller a bearer token stands for: name and role. UNAUTHENTICATED (INVALID_TOKEN) for an
  // unknown one. The time it takes does not depend on how much of a token is right.
  base::Result<model::Caller> find(std::string_view token);

 private:
  explicit ApiTokens(std::string path) : path_(std::move(path)) {}
  base::Result<> read_locked();
  void read_again_if_changed_locked();

  const std::string path_;
  std::mutex mutex_;
  std::vector<ApiToken> tokens_;
  std::array<int64_t, 4> file_state_{}; // device, inode, size, change time in ns
  int64_t looked_at_seconds_ = 0;
};

} // namespace controlplane::identity
