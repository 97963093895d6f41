// A join token, as the control plane prints it and an agent reads it:
// `sonde1.<authority>.<secret>`, where <authority> is the SHA-256 of the control plane's CA
// certificate in hexadecimal (so that first contact cannot be impersonated) and <secret> 256 random
// bits in hexadecimal. Values; thread-safe.
#pragma once

#include "base/result.h"

#include <string>
#include <string_view>

namespace base {

// A name that the certificate of every sonded carries: agents look for it whatever address they
// dial, since the authority of the join token signs servers of one installation only.
inline constexpr std::string_view kControlPlaneName = "sonded";
// Initial metadata of a control stream that the control plane let in.
inline constexpr std::string_view kAdmittedHeader = "sonde-admitted";

struct JoinToken {
  std::string authority_sha256; // 32 raw bytes
  std::string secret;           // 32 raw bytes

  static JoinToken generate(std::string_view authority_sha256);
  // Blanks around it are ignored. INVALID_JOIN_TOKEN, without quoting the secret.
  static Result<JoinToken> parse(std::string_view text);
  std::string to_text() const;
  // What the control plane stores instead of the secret: 32 raw bytes.
  std::string secret_sha256() const;
};

} // namespace base
