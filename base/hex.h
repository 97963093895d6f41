// Lower-case hexadecimal, as trace ids, span ids and content hashes are written.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace base {

std::string to_hex(std::string_view bytes);
// INVALID_HEX when the length is odd or a character is not 0-9a-fA-F.
Result<std::string> from_hex(std::string_view text);
// SHA-256, 32 raw bytes.
std::string sha256(std::string_view bytes);
// Bytes from the kernel's random source, for ids and secrets.
std::string random_bytes(size_t size);
// A new random (version 4) UUID in its usual text form: the id of sessions, agents, tokens, rules.
std::string new_uuid();

} // namespace base
