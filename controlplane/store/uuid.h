// Of the store's bodies only: ids as callers send them.
#pragma once

#include <cstddef>
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

} // namespace controlplane::store
