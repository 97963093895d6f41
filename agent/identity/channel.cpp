#include "agent/identity/channel.h"

#include "agent/identity/limits.h"
#include "base/join_token.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

#include <grpcpp/grpcpp.h>

#include <array>

namespace agent::identity {
namespace {

// base::Error::reason is always one of our own literals, never bytes from the wire.
constexpr std::array<std::string_view, 21> kKnownReasons = {
    "AGENT_BANNED",
    "AGENT_EVICTED",
    "AGENT_SILENT",
    "AGENT_UNKNOWN",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_NOT_YET_VALID",
    "CERTIFICATE_REQUIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_UNTRUSTED",
    "HELLO_TIMEOUT",
    "INTERNAL",
    "INVALID_CERTIFICATE_REQUEST",
    "INVALID_JOIN_TOKEN",
    "INVALID_MESSAGE",
    "JOIN_TOKEN_EXPIRED",
    "JOIN_TOKEN_UNKNOWN",
    "JOIN_TOKEN_USED",
    "OVERLOADED",
    "SHUTTING_DOWN",
    "SLOW_READER",
    "STREAM_REPLACED"};

std::string reason_in(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return {};
  for (const google::protobuf::Any& detail : details.details()) {
    google::rpc::ErrorInfo info;
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return {};
}

// What an agent does not use costs memory and wake-ups in every agent of a fleet.
grpc::ChannelArguments lean_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetInt(GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The probe grows windows to megabytes; deltas and batches of spans are small.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindowBytes);
  arguments.SetMaxReceiveMessageSize(kReceiveBytesMax);
  // Whoever uses the channel backs off; the channel itself is quick.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kChannelBackoffMin.count());
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs.count());
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kChannelBackoffMax.count());
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTime.count());
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeout.count());
  arguments.SetSslTargetNameOverride(std::string(base::kControlPlaneName));
  return arguments;
}

} // namespace

std::shared_ptr<grpc::Channel>
make_channel(const std::string& address, const Credential& credential) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = credential.authorities_pem;
  tls.pem_private_key = credential.key_pem;
  tls.pem_cert_chain = credential.certificate_chain_pem;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), lean_arguments());
}

base::Error to_error(const grpc::Status& status) {
  auto code = static_cast<base::Code>(status.error_code());
  std::string reason = reason_in(status);
  for (std::string_view known : kKnownReasons)
    if (known == reason) return {code, known, status.error_message(), {}};
  if (!reason.empty())
    return {code, "CONTROL_PLANE_ERROR", reason + ": " + status.error_message(), {}};
  std::string message = status.error_message();
  if (message.empty()) message = "the stream ended";
  return {code, "CONTROL_PLANE_UNREACHABLE", std::move(message), {}};
}

} // namespace agent::identity
