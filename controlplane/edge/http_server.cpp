#include "controlplane/edge/http_server.h"

#include "base/log.h"
#include "controlplane/edge/http_server_shared.h"
#include "controlplane/edge/limits.h"

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <openssl/ssl.h>

namespace controlplane::edge {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using base::Result;

base::Error
address_error(const HttpServerOptions& options, const boost::system::error_code& error) {
  return base::failed_precondition(
      "ADDRESS_UNUSABLE",
      fmt::format("listen on {}:{}: {}", options.address, options.port, error.message()));
}

Result<std::shared_ptr<asio::ssl::context>> make_tls(const TlsIdentity& identity) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  context->use_certificate_chain(asio::buffer(identity.chain_pem), error);
  if (!error)
    context->use_private_key(asio::buffer(identity.key_pem), asio::ssl::context::pem, error);
  if (error)
    return base::invalid_argument("INVALID_CERTIFICATE", "TLS identity: " + error.message());
  return context;
}

} // namespace

Result<> HttpServer::Shared::listen() {
  boost::system::error_code error;
  auto address = asio::ip::make_address(options.address, error);
  if (error) return address_error(options, error);
  if (!options.tls && !address.is_loopback())
    return base::failed_precondition(
        "PLAINTEXT_ON_NETWORK",
        fmt::format(
            "{} is not loopback: tokens would travel in plaintext; use TLS", options.address));
  if (options.tls) tls = TRY(make_tls(*options.tls));
  tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return address_error(options, error);
  return {};
}

void HttpServer::Shared::accept() {
  acceptor.async_accept([self = shared_from_this()](
                            boost::system::error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || self->draining) return;
    boost::system::error_code ignored;
    if (!error && self->connections.size() >= self->options.connections_max) {
      self->metrics.refused("TOO_MANY_CONNECTIONS");
      socket.close(ignored);
    } else if (!error) {
      socket.set_option(tcp::no_delay(true), ignored);
      auto peer = socket.remote_endpoint(ignored);
      serve_connection(
          self, std::move(socket), fmt::format("{}:{}", peer.address().to_string(), peer.port()));
    }
    self->accept();
  });
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(
    HttpServerOptions options, HttpHandler& handler, Workers& workers, CallMetrics& metrics) {
  auto shared = std::make_shared<Shared>(std::move(options), handler, workers, metrics);
  TRY(shared->listen());
  shared->accept();
  shared->thread = std::jthread([raw = shared.get()] { raw->io.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(shared)));
}

HttpServer::~HttpServer() {
  stop();
  // Connections and the io_context own each other through their handlers: let each handler see its
  // end.
  shared_->io.restart();
  auto open = shared_->connections;
  for (auto* connection : open) connection->abort();
  boost::system::error_code ignored;
  shared_->acceptor.close(ignored);
  shared_->io.poll();
}

HttpServer::Stats HttpServer::stats() const {
  return {shared_->open_connections, shared_->streams};
}

uint16_t HttpServer::port() const {
  boost::system::error_code error;
  return shared_->acceptor.local_endpoint(error).port();
}

std::string HttpServer::url() const {
  bool v6 = shared_->options.address.find(':') != std::string::npos;
  return fmt::format(
      "{}://{}{}{}:{}", shared_->options.tls ? "https" : "http", v6 ? "[" : "",
      shared_->options.address, v6 ? "]" : "", port());
}

void HttpServer::drain() {
  asio::post(shared_->io, [shared = shared_] {
    shared->draining = true;
    boost::system::error_code ignored;
    shared->acceptor.close(ignored);
    auto open = shared->connections; // draining one may take it out
    for (auto* connection : open) connection->drain();
  });
}

void HttpServer::stop() {
  shared_->io.stop();
  if (shared_->thread.joinable()) shared_->thread.join();
}

Result<> HttpServer::set_tls_identity(const TlsIdentity& identity) {
  auto context = TRY(make_tls(identity));
  std::lock_guard lock(shared_->tls_mutex);
  shared_->tls = std::move(context);
  return {};
}

} // namespace controlplane::edge
