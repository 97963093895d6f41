#include "controlplane/identity/api_tokens.h"

#include "base/hex.h"
#include "base/log.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <sstream>

namespace controlplane::identity {
namespace {

using model::Role;

constexpr size_t kTokenRandomBytes = 32;
constexpr size_t kSha256Bytes = 32;

base::Result<Role> role_from(std::string_view name) {
  if (name == "viewer") return Role::kViewer;
  if (name == "operator") return Role::kOperator;
  if (name == "admin") return Role::kAdmin;
  return base::invalid_argument(
      "INVALID_TOKEN_FILE", fmt::format("role \"{}\" is none of viewer, operator, admin", name));
}

base::Result<ApiToken> parse_line(const std::string& line) {
  std::istringstream words(line);
  std::string name, role, hash, rest;
  if (!(words >> name >> role >> hash) || words >> rest)
    return base::invalid_argument("INVALID_TOKEN_FILE", "expected `name role sha256hex(token)`");
  ApiToken token{name, TRY(role_from(role)), TRY(base::from_hex(hash))};
  if (token.sha256.size() != kSha256Bytes)
    return base::invalid_argument("INVALID_TOKEN_FILE", "the hash is not 64 hexadecimal digits");
  return token;
}

std::array<int64_t, 4> state_of(const struct stat& file) {
  return {
      static_cast<int64_t>(file.st_dev), static_cast<int64_t>(file.st_ino), file.st_size,
      file.st_ctim.tv_sec * 1'000'000'000 + file.st_ctim.tv_nsec};
}

int64_t monotonic_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

} // namespace

base::Result<std::vector<ApiToken>> parse_api_tokens(std::string_view text) {
  std::vector<ApiToken> tokens;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    tokens.push_back(TRY(parse_line(line).context(fmt::format("line {}", number))));
  }
  return tokens;
}

std::string new_api_token() {
  auto random = base::random_bytes(kTokenRandomBytes);
  std::string encoded(4 * ((kTokenRandomBytes + 2) / 3), '\0');
  EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(encoded.data()),
      reinterpret_cast<const unsigned char*>(random.data()), static_cast<int>(random.size()));
  for (char& c : encoded) {
    if (c == '+') c = '-';
    if (c == '/') c = '_';
  }
  while (encoded.ends_with('=')) encoded.pop_back();
  return "sonde_" + encoded;
}

std::string api_token_line(std::string_view name, Role role, std::string_view token) {
  return fmt::format("{} {} {}\n", name, model::name_of(role), base::to_hex(base::sha256(token)));
}

base::Result<std::unique_ptr<ApiTokens>> ApiTokens::open(std::string path) {
  std::unique_ptr<ApiTokens> tokens(new ApiTokens(std::move(path)));
  std::lock_guard lock(tokens->mutex_);
  TRY(tokens->read_locked());
  return tokens;
}

base::Result<model::Caller> ApiTokens::find(std::string_view token) {
  auto hash = base::sha256(token);
  std::lock_guard lock(mutex_);
  read_again_if_changed_locked();
  const ApiToken* found = nullptr;
  for (const auto& candidate : tokens_) { // all of them, always: equal time for every wrong token
    if (CRYPTO_memcmp(candidate.sha256.data(), hash.data(), kSha256Bytes) == 0) found = &candidate;
  }
  if (!found) {
    return base::Error{
        base::Code::kUnauthenticated,
        "INVALID_TOKEN",
        "this API token is not known (any more)",
        {}};
  }
  model::Caller caller;
  caller.role = found->role;
  caller.name = found->name;
  return caller;
}

base::Result<> ApiTokens::read_locked() {
  struct stat file {};
  if (::stat(path_.c_str(), &file) != 0) return base::errno_error("API tokens: " + path_, errno);
  std::ifstream stream(path_);
  if (!stream) return base::errno_error("API tokens: " + path_, errno);
  std::stringstream text;
  text << stream.rdbuf();
  file_state_ = state_of(file);
  tokens_ = TRY(parse_api_tokens(text.str()).context("API tokens: " + path_));
  return {};
}

void ApiTokens::read_again_if_changed_locked() {
  auto now = monotonic_seconds();
  if (now == looked_at_seconds_) return;
  looked_at_seconds_ = now;
  struct stat file {};
  if (::stat(path_.c_str(), &file) != 0 || state_of(file) == file_state_) return;
  if (auto read = read_locked(); !read)
    base::log::error("{}; the tokens read before stay in force", read.error().message);
  else
    base::log::info("read {} API tokens from {}", tokens_.size(), path_);
}

} // namespace controlplane::identity
