// One HTTP connection: read a request, let a worker answer it, write the answer, and again; or a
// stream of events. Everything but the handler runs on the thread of the sockets.
#include "controlplane/edge/http_server_shared.h"
#include "controlplane/edge/limits.h"
#include "controlplane/edge/sse.h"

#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <fmt/format.h>

#include <type_traits>

namespace controlplane::edge {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr std::string_view kServer = "sonded";
// Head, the start of a body, and what of a next request came along.
constexpr size_t kReadBufferBytesMax = kHeaderBytesMax + 64 * 1024;

using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

template <class Stream>
class Connection final : public OpenConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
  static constexpr bool kTls = std::is_same_v<Stream, TlsStream>;

 public:
  Connection(
      std::shared_ptr<HttpServer::Shared> shared, Stream stream,
      std::shared_ptr<asio::ssl::context> tls, std::string peer)
      : shared_(std::move(shared)), tls_(std::move(tls)), stream_(std::move(stream)),
        peer_(std::move(peer)), timer_(shared_->io), buffer_(kReadBufferBytesMax) {
    shared_->connections.insert(this);
    shared_->open_connections = shared_->connections.size();
  }
  ~Connection() override {
    shared_->connections.erase(this);
    shared_->open_connections = shared_->connections.size();
  }

  void start() {
    if constexpr (kTls) {
      tcp_().expires_after(shared_->options.timeouts.header);
      stream_.async_handshake(
          asio::ssl::stream_base::server,
          [self = this->shared_from_this()](beast::error_code error) {
            if (!error) self->read_header(self->shared_->options.timeouts.header);
          });
    } else {
      read_header(shared_->options.timeouts.header);
    }
  }

  void drain() override {
    draining_ = true;
    timer_.cancel(); // a stream looks up at once
    if (idle_) tcp_().cancel();
  }

  void abort() override {
    reader_gone_ = true;
    timer_.cancel();
    write_deadline_.reset();
    tcp_().close();
  }

 private:
  PlainStream& tcp_() {
    if constexpr (kTls)
      return stream_.next_layer();
    else
      return stream_;
  }
  // From a worker to the thread of the sockets, with the connection itself: whoever lets go of it
  // last takes it out of the set that belongs to that thread.
  template <class Function>
  static void give_back(std::shared_ptr<Connection> self, Function function) {
    auto& io = self->shared_->io;
    asio::post(io, [self = std::move(self), function] { function(*self); });
  }
  template <class Function> auto mine(Function function) {
    return [self = this->shared_from_this(), function](auto... arguments) {
      function(*self, arguments...);
    };
  }

  void read_header(std::chrono::milliseconds timeout) {
    parser_.emplace();
    parser_->header_limit(kHeaderBytesMax);
    parser_->body_limit(kBodyBytesMax);
    tcp_().expires_after(timeout);
    idle_ = buffer_.size() == 0;
    http::async_read_header(
        stream_, buffer_, *parser_, mine([](Connection& self, beast::error_code error, size_t) {
          self.idle_ = false;
          if (error) return self.refuse(error);
          self.read_body();
        }));
  }

  void read_body() {
    tcp_().expires_after(shared_->options.timeouts.body);
    if (beast::iequals(parser_->get()[http::field::expect], "100-continue") &&
        !parser_->is_done()) {
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      return asio::async_write(
          stream_, asio::buffer(kContinue),
          mine([](Connection& self, beast::error_code error, size_t) {
            if (!error) self.read_rest();
          }));
    }
    read_rest();
  }

  void read_rest() {
    http::async_read(
        stream_, buffer_, *parser_, mine([](Connection& self, beast::error_code error, size_t) {
          if (error) return self.refuse(error);
          self.handle();
        }));
  }

  // What came is no request, or too large a one: say so if there is somebody to hear it, and close.
  void refuse(const beast::error_code& error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
      return refuse_with(
          {base::Code::kInvalidArgument,
           "HEADER_TOO_LARGE",
           fmt::format("the request line and headers exceed {} bytes", kHeaderBytesMax),
           {}});
    if (error == http::error::body_limit)
      return refuse_with(
          {base::Code::kInvalidArgument,
           "BODY_TOO_LARGE",
           fmt::format("the body exceeds {} bytes", kBodyBytesMax),
           {}});
    bool malformed = error.category() == http::make_error_code(http::error::bad_method).category();
    if (malformed && error != http::error::end_of_stream && error != http::error::partial_message)
      return refuse_with(
          {base::Code::kInvalidArgument, "INVALID_HTTP", "not HTTP/1.1: " + error.message(), {}});
    if (error == beast::error::timeout) shared_->metrics.refused("REQUEST_TIMEOUT");
    close();
  }

  void refuse_with(const base::Error& error) {
    shared_->metrics.refused(error.reason);
    keep_alive_ = false;
    version_ = 11;
    head_only_ = false;
    write(problem_reply(error, "", ""));
  }

  HttpRequest take_request() {
    auto& message = parser_->get();
    auto view = [](auto text) { return std::string(text.data(), text.size()); };
    HttpRequest request;
    request.verb = view(message.method_string());
    auto target = view(message.target());
    auto question = target.find('?');
    request.path = target.substr(0, question);
    if (question != std::string::npos) request.query = target.substr(question + 1);
    request.body = std::move(message.body());
    request.content_type = view(message[http::field::content_type]);
    request.last_event_id = view(message["Last-Event-ID"]);
    request.credentials.authorization = view(message[http::field::authorization]);
    request.credentials.address = peer_;
    return request;
  }

  void handle() {
    keep_alive_ = parser_->get().keep_alive() && !draining_;
    version_ = parser_->get().version();
    head_only_ = parser_->get().method() == http::verb::head;
    auto request = take_request();
    parser_.reset();
    tcp_().expires_never(); // the store has deadlines of its own
    if (auto reply = shared_->handler.at_once(request)) return write(std::move(*reply));
    auto posted = shared_->workers.post(
        [self = this->shared_from_this(), request = std::move(request)]() mutable {
          auto answer = std::make_shared<HttpAnswer>(self->shared_->handler.serve(request));
          give_back(std::move(self), [answer](auto& it) { it.answer(std::move(*answer)); });
        });
    if (!posted) {
      shared_->metrics.refused("OVERLOADED");
      write(
          problem_reply(base::unavailable("OVERLOADED", "too many calls wait; try again"), "", ""));
    }
  }

  void answer(HttpAnswer answer) {
    if (auto* reply = std::get_if<HttpReply>(&answer)) return write(std::move(*reply));
    begin_stream(std::move(std::get<HttpStream>(answer)));
  }

  void write(HttpReply reply) {
    response_ = std::make_unique<http::response<http::string_body>>(
        static_cast<http::status>(reply.status), version_);
    response_->set(http::field::server, kServer);
    response_->set(http::field::content_type, reply.content_type);
    response_->set(http::field::cache_control, "no-store");
    response_->set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : reply.headers) response_->set(name, value);
    response_->keep_alive(keep_alive_ && !draining_);
    response_->content_length(reply.body.size());
    if (!head_only_) response_->body() = std::move(reply.body);
    tcp_().expires_after(shared_->options.timeouts.write);
    http::async_write(
        stream_, *response_, mine([](Connection& self, beast::error_code error, size_t) {
          if (error == beast::error::timeout) self.shared_->metrics.refused("SLOW_READER");
          bool again = self.response_->keep_alive() && !self.draining_;
          self.response_.reset();
          if (error || !again) return self.close();
          self.read_header(self.shared_->options.timeouts.idle);
        }));
  }

  // --- server-sent events ---

  void begin_stream(HttpStream stream) {
    if (shared_->streams >= kStreamsMax) {
      shared_->metrics.refused("TOO_MANY_STREAMS");
      return write(problem_reply(
          base::Error{
              base::Code::kResourceExhausted,
              "TOO_MANY_STREAMS",
              fmt::format("{} streams are open already", kStreamsMax),
              {}},
          stream.instance, stream.request_id));
    }
    ++shared_->streams;
    events_ = std::make_unique<HttpStream>(std::move(stream));
    streams_guard_ =
        std::shared_ptr<void>(nullptr, [shared = shared_](void*) { --shared->streams; });
    auto head = fmt::format(
        "HTTP/1.1 200 OK\r\nServer: {}\r\nContent-Type: text/event-stream\r\nCache-Control: "
        "no-store\r\n"
        "X-Request-Id: {}\r\n{}Connection: close\r\n\r\n",
        kServer, events_->request_id, version_ >= 11 ? "Transfer-Encoding: chunked\r\n" : "");
    keep_alive_ = false;
    last_write_ = std::chrono::steady_clock::now();
    watch_for_close();
    write_stream_bytes(std::move(head) + chunk(sse_retry(kStreamRetry)), Then::kPoll);
  }

  enum class Then { kPoll, kEnd };

  std::string chunk(const std::string& text) const {
    if (version_ < 11) return text;
    return fmt::format("{:x}\r\n{}\r\n", text.size(), text);
  }

  // The reader has nothing more to say: bytes are ignored, its end ends the stream.
  void watch_for_close() {
    tcp_().expires_never();
    stream_.async_read_some(
        asio::buffer(ignored_), mine([](Connection& self, beast::error_code error, size_t) {
          if (!error) return self.watch_for_close();
          self.reader_gone_ = true;
          self.timer_.cancel();
        }));
  }

  void poll_stream() {
    if (reader_gone_) return close();
    if (draining_)
      return end_stream(sse_error(
          base::unavailable("SHUTTING_DOWN", "this replica is shutting down; come back"),
          events_->instance, events_->request_id));
    bool posted = shared_->workers.post([self = this->shared_from_this()]() mutable {
      auto batch = std::make_shared<base::Result<StreamBatch>>(self->events_->source->poll());
      give_back(std::move(self), [batch](auto& it) { it.write_batch(*batch); });
    });
    if (!posted) wait_and_poll();
  }

  void write_batch(const base::Result<StreamBatch>& batch) {
    if (!batch) return end_stream(sse_error(batch.error(), events_->instance, events_->request_id));
    std::string text;
    for (const auto& message : batch->messages) {
      auto event = sse_event(*message);
      text += event ? *event : sse_error(event.error(), events_->instance, events_->request_id);
    }
    if (batch->ended) return end_stream(text);
    auto quiet = std::chrono::steady_clock::now() - last_write_;
    if (text.empty() && quiet >= kKeepAliveInterval) text = sse_keep_alive();
    if (text.empty()) return wait_and_poll();
    write_stream_bytes(chunk(text), Then::kPoll);
  }

  void end_stream(const std::string& text) {
    auto bytes = text.empty() ? std::string() : chunk(text);
    if (version_ >= 11) bytes += "0\r\n\r\n";
    write_stream_bytes(std::move(bytes), Then::kEnd);
  }

  void write_stream_bytes(std::string bytes, Then then) {
    outgoing_ = std::move(bytes);
    last_write_ = std::chrono::steady_clock::now();
    write_deadline_.emplace(shared_->io, shared_->options.timeouts.write);
    write_deadline_->async_wait(
        mine([number = ++writes_](Connection& self, beast::error_code error) {
          if (error || number != self.writes_) return; // that write ended while the alarm rang
          self.shared_->metrics.refused("SLOW_READER");
          self.close();
        }));
    asio::async_write(
        stream_, asio::buffer(outgoing_),
        mine([then](Connection& self, beast::error_code error, size_t) {
          ++self.writes_;
          self.write_deadline_.reset();
          if (error || then == Then::kEnd) return self.close();
          self.wait_and_poll();
        }));
  }

  void wait_and_poll() {
    timer_.expires_after(kStreamPollInterval);
    timer_.async_wait(mine([](Connection& self, beast::error_code) { self.poll_stream(); }));
  }

  void close() {
    beast::error_code ignored;
    // What a reader still sends would turn the close into a reset that eats our last answer.
    tcp_().socket().shutdown(tcp::socket::shutdown_send, ignored);
    if (lingered_ || events_) return tcp_().close(); // of a stream, all input is read already
    lingered_ = true;
    tcp_().expires_after(kLinger);
    drop_input();
  }

  void drop_input() {
    tcp_().async_read_some(
        asio::buffer(ignored_), mine([](Connection& self, beast::error_code error, size_t size) {
          self.dropped_bytes_ += size;
          if (error || self.dropped_bytes_ > kLingerBytesMax) return self.tcp_().close();
          self.drop_input();
        }));
  }

  static constexpr std::chrono::seconds kLinger{2};
  static constexpr size_t kLingerBytesMax = 16 * 1024 * 1024;

  const std::shared_ptr<HttpServer::Shared> shared_;
  const std::shared_ptr<asio::ssl::context> tls_; // outlives the stream
  Stream stream_;
  const std::string peer_;
  asio::steady_timer timer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::unique_ptr<http::response<http::string_body>> response_;
  bool idle_ = false;
  bool draining_ = false;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool lingered_ = false;
  unsigned version_ = 11;
  size_t dropped_bytes_ = 0;
  // Of a stream of events.
  std::unique_ptr<HttpStream> events_;
  std::shared_ptr<void> streams_guard_;
  std::string outgoing_;
  std::optional<asio::steady_timer> write_deadline_;
  uint64_t writes_ = 0; // begun and ended
  std::chrono::steady_clock::time_point last_write_;
  std::array<char, 4096> ignored_{};
  bool reader_gone_ = false;
};

} // namespace

void serve_connection(
    const std::shared_ptr<HttpServer::Shared>& shared, tcp::socket socket, std::string peer) {
  std::shared_ptr<asio::ssl::context> tls;
  {
    std::lock_guard lock(shared->tls_mutex);
    tls = shared->tls;
  }
  PlainStream plain(std::move(socket));
  if (!tls)
    return std::make_shared<Connection<PlainStream>>(
               shared, std::move(plain), nullptr, std::move(peer))
        ->start();
  TlsStream stream(std::move(plain), *tls);
  std::make_shared<Connection<TlsStream>>(shared, std::move(stream), tls, std::move(peer))->start();
}

} // namespace controlplane::edge
