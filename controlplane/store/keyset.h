// Of the store's bodies only: pages by (create_time, id), newest first, and ids as callers send
// them.
#pragma once

#include "base/hex.h"
#include "base/result.h"

#include <string>
#include <string_view>

namespace controlplane::store {

// 8-4-4-4-12 hexadecimal digits: what a uuid column takes without a cast error.
inline bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    char c = text[i];
    bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (dash ? c != '-' : !digit) return false;
  }
  return true;
}

// The last row of a page. Opaque to callers: hexadecimal of "time id".
struct KeysetToken {
  std::string time; // as PostgreSQL writes a timestamptz
  std::string id;

  std::string to_text() const { return base::to_hex(id + time); }
  static base::Result<KeysetToken> parse(std::string_view text) {
    auto bytes = base::from_hex(text);
    if (!bytes || bytes->size() < 36 + 10 || bytes->size() > 36 + 40 ||
        !is_uuid(std::string_view(*bytes).substr(0, 36)) ||
        bytes->find_first_not_of("0123456789-+:. ", 36) != std::string::npos)
      return base::invalid_argument(
                 "INVALID_PAGE_TOKEN", "pageToken is not one that a list answered with")
          .at("pageToken");
    return KeysetToken{bytes->substr(36), bytes->substr(0, 36)};
  }
};

} // namespace controlplane::store
