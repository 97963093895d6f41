#include "controlplane/model/page_token.h"

#include "base/hex.h"

#include <fmt/format.h>

namespace controlplane::model {
namespace {

constexpr size_t kQueryHashBytes = 4;
constexpr size_t kTokenBytesMax = 4096;

std::string hash_of(std::string_view query) {
  return base::sha256(query).substr(0, kQueryHashBytes);
}

} // namespace

base::Error invalid_page_token() {
  return base::invalid_argument(
             "INVALID_PAGE_TOKEN",
             "pageToken is not one that this list answered with, for the same filter")
      .at("pageToken");
}

// The hash of the query, then each part behind its length (two bytes).
std::string encode_page_token(const std::vector<std::string>& key, std::string_view query) {
  std::string bytes = hash_of(query);
  for (const std::string& part : key) {
    bytes += static_cast<char>(part.size() >> 8);
    bytes += static_cast<char>(part.size() & 0xff);
    bytes += part;
  }
  return base::to_hex(bytes);
}

base::Result<std::vector<std::string>>
decode_page_token(std::string_view token, std::string_view query, size_t parts) {
  std::vector<std::string> key;
  if (token.empty()) return key;
  if (token.size() > kTokenBytesMax) return invalid_page_token();
  auto bytes = base::from_hex(token);
  if (!bytes.ok() || !bytes->starts_with(hash_of(query))) return invalid_page_token();
  std::string_view rest = std::string_view(*bytes).substr(kQueryHashBytes);
  while (!rest.empty()) {
    if (rest.size() < 2) return invalid_page_token();
    size_t size = static_cast<unsigned char>(rest[0]) << 8 | static_cast<unsigned char>(rest[1]);
    rest.remove_prefix(2);
    if (rest.size() < size) return invalid_page_token();
    key.emplace_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  if (key.size() != parts) return invalid_page_token();
  return key;
}

} // namespace controlplane::model
