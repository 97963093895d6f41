#include "base/join_token.h"

#include "base/hex.h"

namespace base {
namespace {

constexpr std::string_view kPrefix = "sonde1.";
constexpr size_t kPartBytes = 32;
constexpr std::string_view kBlanks = " \t\r\n";

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

} // namespace

JoinToken JoinToken::generate(std::string_view authority_sha256) {
  return {std::string(authority_sha256), random_bytes(kPartBytes)};
}

Result<JoinToken> JoinToken::parse(std::string_view text) {
  text = trim(text);
  auto refuse = [] {
    return invalid_argument(
        "INVALID_JOIN_TOKEN",
        "not a join token: it reads sonde1.<64 digits>.<64 digits>, as printed "
        "by `sonde token create`");
  };
  if (text.size() != kPrefix.size() + 4 * kPartBytes + 1 || !text.starts_with(kPrefix) ||
      text[kPrefix.size() + 2 * kPartBytes] != '.')
    return refuse();
  auto authority = from_hex(text.substr(kPrefix.size(), 2 * kPartBytes));
  auto secret = from_hex(text.substr(kPrefix.size() + 2 * kPartBytes + 1));
  if (!authority || !secret) return refuse();
  return JoinToken{*std::move(authority), *std::move(secret)};
}

std::string JoinToken::to_text() const {
  return std::string(kPrefix) + to_hex(authority_sha256) + "." + to_hex(secret);
}

std::string JoinToken::secret_sha256() const { return sha256(secret); }

} // namespace base
