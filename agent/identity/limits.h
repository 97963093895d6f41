// Limits of agent/identity.
#pragma once

#include <chrono>
#include <cstddef>

namespace agent::identity {

// One attempt to reach one address, TCP and TLS.
inline constexpr std::chrono::milliseconds kConnectTimeoutMs{5'000};
// One Enroll or Renew call.
inline constexpr std::chrono::seconds kCallTimeout{10};
// While no control plane answers, enrollment is tried again, with full jitter below this.
inline constexpr std::chrono::milliseconds kEnrollRetryFirst{500};
inline constexpr std::chrono::milliseconds kEnrollRetryMax{10'000};
// Renewal retries: full jitter below this, doubling from the first to the last.
inline constexpr std::chrono::milliseconds kRenewRetryFirst{1'000};
inline constexpr std::chrono::milliseconds kRenewRetryMax{300'000};
// Certificates that a server may send in its chain.
inline constexpr int kServerChainMax = 4;
// Files of the state directory and the join token file; more is not read.
inline constexpr size_t kFileBytesMax = 64 * 1024;

// Of channels. Largest message taken from the control plane: a delta carries every session, rule
// and table of one host.
inline constexpr int kReceiveBytesMax = 4 << 20;
inline constexpr int kStreamWindowBytes = 64 * 1024;
inline constexpr std::chrono::milliseconds kChannelBackoffMin{100};
inline constexpr std::chrono::milliseconds kChannelBackoffMax{1'000};
// A connection that says nothing for so long is asked, and dropped when it does not answer.
inline constexpr std::chrono::milliseconds kKeepaliveTime{20'000};
inline constexpr std::chrono::milliseconds kKeepaliveTimeout{10'000};

} // namespace agent::identity
