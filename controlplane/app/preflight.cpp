#include "controlplane/app/preflight.h"

#include "controlplane/export/destination.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <fmt/format.h>

#include <fstream>

namespace controlplane::app {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using base::Result;

Result<> check_address(std::string_view flag, const ListenAddress& listen) {
  if (listen.port == 0) return {};
  boost::system::error_code error;
  const tcp::endpoint endpoint(asio::ip::make_address(listen.address, error), listen.port);
  asio::io_context context;
  tcp::acceptor acceptor(context);
  if (!error) acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(1, error);
  if (!error) return {};
  const std::string_view advice =
      error == asio::error::address_in_use
          ? "; something listens there already (another sonded?): end it or choose another port"
      : error == asio::error::access_denied ? "; choose a port from 1024 up"
                                            : "; choose an address of this machine";
  return base::failed_precondition(
      "ADDRESS_NOT_AVAILABLE",
      fmt::format("--{} {}:{}: {}{}", flag, listen.address, listen.port, error.message(), advice));
}

Result<> check_certificate(const Settings& settings, const Secrets& secrets) {
  if (secrets.tls_certificate_pem.empty()) return {};
  asio::ssl::context context(asio::ssl::context::tls_server);
  boost::system::error_code error;
  context.use_certificate_chain(asio::buffer(secrets.tls_certificate_pem), error);
  if (error)
    return base::invalid_argument(
        "INVALID_SETTING", fmt::format(
                               "--tls-certificate {}: {}; expected a chain in PEM",
                               settings.tls_certificate.string(), error.message()));
  context.use_private_key(asio::buffer(secrets.tls_key_pem), asio::ssl::context::pem, error);
  if (error)
    return base::invalid_argument(
        "INVALID_SETTING", fmt::format(
                               "--tls-key {}: {}; expected the PEM key of --tls-certificate",
                               settings.tls_key.string(), error.message()));
  return {};
}

Result<> check_destinations(const Settings& settings) {
  for (const auto& [name, text] : settings.otlp_destinations) {
    const auto destination = TRY(exporter::parse_destination(name, text));
    if (destination.ca_file.empty() || std::ifstream(destination.ca_file)) continue;
    return base::invalid_argument(
        "INVALID_SETTING",
        fmt::format("--otlp {}={}: {} cannot be read", name, text, destination.ca_file));
  }
  return {};
}

} // namespace

Result<> check_before_start(const Settings& settings, const Secrets& secrets) {
  TRY(check_certificate(settings, secrets));
  TRY(check_destinations(settings));
  TRY(check_address("listen-grpc", settings.grpc));
  TRY(check_address("listen-rest", settings.rest));
  return check_address("listen-metrics", settings.metrics);
}

} // namespace controlplane::app
