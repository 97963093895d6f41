// Limits of agent/identity.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::identity {

// One attempt to reach one address, TCP and TLS.
inline constexpr std::chrono::seconds kConnectTimeout{5};
// One Enroll or Renew call.
inline constexpr std::chrono::seconds kCallTimeout{10};
// Renewal retries: full jitter below this, doubling from the first to the last.
inline constexpr std::chrono::seconds kRenewRetryFirst{5};
inline constexpr std::chrono::seconds kRenewRetryMax{300};
// Certificates that a server may send in its chain.
inline constexpr int kServerChainMax = 4;
// Files of the state directory and the join token file; more is not read.
inline constexpr size_t kFileBytesMax = 64 * 1024;

} // namespace agent::identity
