// FactRequest and BinaryInfo as bytes: between agent and worker, and in the cache on disk. Whoever
// reads them trusts neither: a decoded BinaryInfo is one that could be true of the file, or an
// error.
#pragma once

#include "agent/process/binary_info.h"
#include "base/result.h"

#include <string>
#include <string_view>

namespace agent::process {

std::string encode(const FactRequest& request);
base::Result<FactRequest> decode_request(std::string_view bytes);

// A result as the worker sends it: facts, or an error.
std::string encode(const base::Result<BinaryInfo>& result);
// The error that was sent; or ANALYSIS_FAILED when the bytes are no answer to `request` about a
// file of `file_bytes`: names that were not asked for, code outside its segment, offsets outside
// any struct.
base::Result<BinaryInfo>
decode_result(std::string_view bytes, const FactRequest& request, uint64_t file_bytes);

// Changes whenever the request or the format of the facts does.
std::string request_hash(const FactRequest& request);

} // namespace agent::process
