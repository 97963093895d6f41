// What the edge of the control plane bears. Each refusal carries its reason and is counted in
// sonde_edge_refused_total.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace controlplane::edge {

// Request line and headers together: tokens and cookies of proxies fit, floods do not.
inline constexpr uint32_t kHeaderBytesMax = 32 * 1024;
// A session with 32 probes takes 4 KB; an offset table with 10,000 fields 1 MB.
inline constexpr uint64_t kBodyBytesMax = uint64_t{2} * 1024 * 1024;
// gRPC messages: the upload of an agent carries a batch of spans.
inline constexpr int kMessageBytesMax = 8 * 1024 * 1024;
// One thread serves them all; each holds some 20 KB when idle.
inline constexpr size_t kConnectionsMax = 1024;
// Server streams (tails) of one replica.
inline constexpr size_t kStreamsMax = 128;
// Calls that wait for a worker; beyond it a call is refused at once (OVERLOADED).
inline constexpr size_t kCallsWaitingMax = 1024;
// Nesting of JSON: the deepest message has eight levels.
inline constexpr size_t kJsonDepthMax = 32;
// Query parameters of one request.
inline constexpr size_t kQueryParametersMax = 64;
// Characters of a request path: enough for every template with three ids in it.
inline constexpr size_t kPathBytesMax = 2048;
// gRPC streams of one connection: an agent has two, a tool some tens.
inline constexpr int kGrpcStreamsPerConnectionMax = 256;

// A client must send a whole header within this, and a body within the next.
inline constexpr std::chrono::seconds kHeaderTimeout{10};
inline constexpr std::chrono::seconds kBodyTimeout{30};
// A client must take an answer, or one event of a stream, within this.
inline constexpr std::chrono::seconds kWriteTimeout{30};
// Between requests of a connection that is kept alive.
inline constexpr std::chrono::seconds kIdleTimeout{120};
// A stream without events says so, that proxies do not close it.
inline constexpr std::chrono::seconds kKeepAliveInterval{15};
// How soon a reader of server-sent events comes back.
inline constexpr std::chrono::milliseconds kStreamRetry{2000};
// How often a stream looks for something new; a look costs no query.
inline constexpr std::chrono::milliseconds kStreamPollInterval{50};

} // namespace controlplane::edge
