// Page tokens: the key of the last row of a page, opaque to callers.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::model {

// `query` is what the list depends on (its filter and parent): a token is good for the same query
// only.
std::string encode_page_token(const std::vector<std::string>& key, std::string_view query);
// Empty text is the first page: an empty key. INVALID_PAGE_TOKEN at "pageToken" for a token that
// was not made for this query, or does not have `parts` parts.
base::Result<std::vector<std::string>>
decode_page_token(std::string_view token, std::string_view query, size_t parts);
// For a key whose parts are not what the list writes.
base::Error invalid_page_token();

} // namespace controlplane::model
