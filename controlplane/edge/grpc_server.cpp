#include "controlplane/edge/grpc_server.h"

#include "controlplane/edge/generic_service.h"
#include "controlplane/edge/limits.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <fmt/format.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <mutex>
#include <thread>

namespace controlplane::edge {
namespace {

using base::Result;

// Keepalive of HTTP/2: a dead peer is noticed, and pings of agents are welcome this often.
constexpr int kUploadWindowBytes = 256 * 1024;
constexpr int kKeepAliveMs = 60'000;
constexpr int kKeepAliveTimeoutMs = 20'000;
constexpr int kPingIntervalMinMs = 10'000;

std::shared_ptr<grpc::ServerCredentials> credentials_for(const GrpcServerOptions& options) {
  if (!options.tls) return grpc::InsecureServerCredentials();
  // Asked of everybody, demanded by the permission of a method: people come with a token instead.
  // The handshake proves that the peer has the key of its certificate; whose it is, and whether it
  // is in time and let in, identity decides per call: so that a refusal carries its reason.
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  tls.pem_key_cert_pairs.push_back({options.tls->key_pem, options.tls->chain_pem});
  tls.pem_root_certs = options.client_authorities_pem;
  return grpc::SslServerCredentials(tls);
}

Result<> check_address(const GrpcServerOptions& options) {
  boost::system::error_code error;
  auto address = boost::asio::ip::make_address(options.address, error);
  if (error)
    return base::failed_precondition(
        "ADDRESS_UNUSABLE", fmt::format("{}: {}", options.address, error.message()));
  if (!options.tls && !address.is_loopback())
    return base::failed_precondition(
        "PLAINTEXT_ON_NETWORK",
        fmt::format(
            "{} is not loopback: tokens would travel in plaintext; use TLS", options.address));
  return {};
}

std::string target_of(const GrpcServerOptions& options, int port) {
  bool v6 = options.address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", options.address, v6 ? "]" : "", port);
}

void set_limits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(kHeaderBytesMax));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kGrpcStreamsPerConnectionMax);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepAliveTimeoutMs);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMinMs);
  // Windows hold two batches of an agent, so that it does not wake for each half of one. Probing
  // would grow them to megabytes per stream.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kUploadWindowBytes);
  // A port that another process holds is taken, not shared.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

} // namespace

class GrpcServer::Parts {
 public:
  Parts(GrpcServerOptions o, const Dispatch& dispatch, Workers& workers)
      : options(std::move(o)), generic(dispatch, workers, timers),
        timer_thread([this] { timers.run(); }) {}
  ~Parts() {
    keep_running.reset();
    timers.stop();
  }

  GrpcServerOptions options;
  boost::asio::io_context timers{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_running =
      boost::asio::make_work_guard(timers);
  GenericService generic;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  std::mutex health_mutex;
  bool draining = false;
  std::jthread timer_thread;
};

GrpcServer::GrpcServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<GrpcServer>>
GrpcServer::start(GrpcServerOptions options, const Dispatch& dispatch, Workers& workers) {
  TRY(check_address(options));
  auto parts = std::make_unique<Parts>(std::move(options), dispatch, workers);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  set_limits(builder);
  builder.AddListeningPort(
      target_of(parts->options, parts->options.port), credentials_for(parts->options),
      &parts->port);
  for (auto* service : parts->options.services) builder.RegisterService(service);
  builder.RegisterCallbackGenericService(&parts->generic);
  parts->server = builder.BuildAndStart();
  if (!parts->server || parts->port == 0)
    return base::failed_precondition(
        "ADDRESS_UNUSABLE", fmt::format(
                                "gRPC cannot listen on {}: taken, or the certificate is bad",
                                target_of(parts->options, parts->options.port)));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(parts)));
}

GrpcServer::~GrpcServer() { stop(std::chrono::milliseconds(0)); }

std::string GrpcServer::address() const { return target_of(parts_->options, parts_->port); }

uint16_t GrpcServer::port() const { return static_cast<uint16_t>(parts_->port); }

void GrpcServer::set_serving(bool serving) {
  std::lock_guard lock(parts_->health_mutex);
  auto* health = parts_->server->GetHealthCheckService();
  if (health && !parts_->draining) health->SetServingStatus(serving);
}

void GrpcServer::drain() {
  {
    std::lock_guard lock(parts_->health_mutex);
    parts_->draining = true;
    if (auto* health = parts_->server->GetHealthCheckService()) health->SetServingStatus(false);
  }
  parts_->generic.drain();
}

void GrpcServer::stop(std::chrono::milliseconds grace) {
  if (!parts_->server) return;
  drain();
  parts_->server->Shutdown(std::chrono::system_clock::now() + grace);
  parts_->server->Wait();
  parts_->server.reset();
}

} // namespace controlplane::edge
