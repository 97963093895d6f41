// What a listener and its connections share. Internal to http_server.cpp and http_connection.cpp.
#pragma once

#include "controlplane/edge/http_server.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

namespace controlplane::edge {

// What the listener may ask of a connection, on the thread of the sockets.
class OpenConnection {
 public:
  virtual ~OpenConnection() = default;
  // Close now if nothing is going on, else after the answer; streams end.
  virtual void drain() = 0;
  // Close whatever is going on.
  virtual void abort() = 0;
};

class HttpServer::Shared : public std::enable_shared_from_this<HttpServer::Shared> {
 public:
  Shared(HttpServerOptions o, HttpHandler& h, Workers& w, CallMetrics& m)
      : options(std::move(o)), handler(h), workers(w), metrics(m), acceptor(io) {}

  base::Result<> listen();
  void accept();

  HttpServerOptions options;
  HttpHandler& handler;
  Workers& workers;
  CallMetrics& metrics;
  boost::asio::io_context io{1};
  boost::asio::ip::tcp::acceptor acceptor;
  std::mutex tls_mutex;
  std::shared_ptr<boost::asio::ssl::context> tls; // null for plaintext
  std::atomic<size_t> open_connections = 0;
  std::atomic<size_t> streams = 0;
  // The rest is touched on the thread of the sockets only.
  std::set<OpenConnection*> connections;
  bool draining = false;
  std::jthread thread;
};

// Begins to serve an accepted socket; the connection owns itself until it closes.
void serve_connection(
    const std::shared_ptr<HttpServer::Shared>& shared, boost::asio::ip::tcp::socket socket,
    std::string peer);

} // namespace controlplane::edge
