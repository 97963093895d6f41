// Limits of controlplane/identity.
#pragma once

#include <chrono>
#include <cstddef>

namespace controlplane::identity {

inline constexpr std::chrono::hours kAuthorityLifetime{24 * 365 * 10};
// sonded issues itself a new one at each start.
inline constexpr std::chrono::hours kServerCertificateLifetime{24 * 397};
inline constexpr std::chrono::hours kAgentCertificateLifetime{24};
inline constexpr std::chrono::seconds kAgentCertificateLifetimeMin{10};
// Certificates are valid from a little earlier, for hosts whose clock is behind.
inline constexpr std::chrono::minutes kClockSkew{5};

inline constexpr std::chrono::seconds kJoinTokenTtlDefault{600};
inline constexpr std::chrono::seconds kJoinTokenTtlMax{86'400};
inline constexpr size_t kLabelsMax = 64;
inline constexpr size_t kLabelBytesMax = 256; // of a key or a value
inline constexpr size_t kHostnameBytesMax = 253;

} // namespace controlplane::identity
