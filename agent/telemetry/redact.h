// What must not leave a host: values under names that mean a secret, credentials in addresses,
// bytes that are not text.
#pragma once

#include <string>
#include <string_view>

namespace agent::telemetry {

// The word that stands for a removed value (OpenTelemetry's).
constexpr std::string_view kRedacted = "REDACTED";

// Whether a query parameter or header of this name carries a secret: its name, without case,
// separators and percent-encoding, contains password, passwd, token, secret, apikey, authorization,
// cookie, creditcard, signature or credential, is sig, or begins or ends with ssn.
bool is_secret_name(std::string_view name);

// `query` with the values of secret names replaced, into `out` (cleared first), cut at `bytes_max`.
// Names and all other values stay byte for byte.
void redact_query(std::string_view query, size_t bytes_max, std::string& out);

// Makes `size` bytes valid UTF-8 without NUL, in place and without changing their number: a byte
// that is neither becomes '?'. Receivers refuse a whole batch for one string that is not text.
void make_text(char* data, size_t size);

} // namespace agent::telemetry
