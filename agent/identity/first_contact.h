// The first connection of a host to its control plane, when all it knows is the hash in its join
// token.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <string>
#include <string_view>

namespace agent::identity {

// The authority's certificate, PEM: the peer at `address` (host:port) sent one with this SHA-256,
// and its own certificate is a server's, signed by it and in time. Nothing but a TLS handshake is
// sent. Blocks.
//   AUTHORITY_MISMATCH (PERMISSION_DENIED)     somebody else answers there
//   CONTROL_PLANE_UNREACHABLE (UNAVAILABLE)
//   INVALID_ADDRESS
base::Result<std::string> fetch_authority(
    const std::string& address, std::string_view authority_sha256, const base::Clock& clock);

} // namespace agent::identity
