// One connection: bytes of both directions come in as they went by, exchanges go out. Pure.
//
// It knows lengths, chunks, interim answers, pipelining and upgrades, and it survives what it was
// not shown: bodies are not copied, requests that are not sampled leave gaps, and so do records
// that found the ring full.
#pragma once

#include "agent/event/body_reader.h"
#include "agent/event/counts.h"
#include "agent/event/http_exchange.h"
#include "agent/event/http_head.h"
#include "agent/event/limits.h"
#include "agent/event/record.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace agent::event {

// What a connection needs from its surroundings; the stitcher is it.
class ExchangeHost {
 public:
  virtual ~ExchangeHost() = default;
  // An exchange begins: gives it its place in a trace.
  virtual void resolve_context(HttpExchange& exchange, const RequestHead& head) = 0;
  // It is over; the value may be taken.
  virtual void finish(HttpExchange& exchange) = 0;
  virtual StitcherCounts& counts() = 0;
};

// Not thread-safe.
class HttpConnection {
 public:
  HttpConnection(uint64_t socket_id, uint32_t tgid, Side side, ExchangeHost& host);

  void on_chunk(const Chunk& chunk);
  void on_state(const SocketState& state);
  // The goroutine of the open request panicked.
  void on_panic(const Panic& panic);
  // The open call failed, and why.
  void on_call_error(const CallError& error);
  // Ends what waited for silence since before `now_ns`.
  void settle(uint64_t now_ns);
  // Gives up what is open.
  void evict();

  uint64_t socket_id() const { return socket_id_; }
  uint32_t tgid() const { return tgid_; }
  Side side() const { return side_; }
  // Of the newest exchange that the kernel began here; 0: unknown.
  uint64_t goid() const { return start_.goid; }
  bool closed() const { return closed_ && open_.empty(); }
  // Something waits for settle().
  bool settling() const { return settle_ns_ != 0; }
  // The exchange whose answer is still to come, or on its way.
  const HttpExchange* open_exchange() const {
    return open_.empty() ? nullptr : &open_.front().value;
  }

 private:
  static constexpr uint64_t kSettleNs = std::chrono::nanoseconds(kSettle).count();

  // One direction of the stream, read as a row of messages.
  struct Direction {
    enum class State : uint8_t { kHead, kBody, kLost, kTunnel };
    State state = State::kLost;
    bool seen = false; // next_offset is known
    uint64_t next_offset = 0;
    std::string head;     // of a head that came in several chunks
    uint64_t head_ns = 0; // its first byte
    BodyReader body;
    uint64_t owner = 0; // serial of the exchange whose body it is
  };
  struct Open {
    HttpExchange value;
    uint64_t serial = 0;
    bool answered = false; // the head of the final answer was read
    bool complete = false; // so was its last byte
    bool doubtful = false; // the end is a guess; more bytes would refute it
    bool panicked = false;
    bool failed = false; // client: the connection ended first; the reason may follow
    std::string panic_message;
  };

  bool is_request(const Chunk& chunk) const { return chunk.received == (side_ == Side::kServer); }
  void begin_at(const Chunk& chunk);
  bool is_inside_body(const Chunk& chunk) const;

  void see_request(std::string_view bytes, const Chunk& chunk);
  void skip_request(uint64_t bytes, bool was_there);
  size_t see_request_head(std::string_view bytes, const Chunk& chunk);
  void begin_exchange(const RequestHead& head, const Chunk& chunk, uint64_t first_byte_ns);
  void use_start(HttpExchange& exchange);
  void note_request_body();

  void see_answer(std::string_view bytes, const Chunk& chunk);
  void skip_answer(uint64_t bytes, uint64_t time_ns);
  size_t see_answer_head(std::string_view bytes, const Chunk& chunk);
  void begin_answer(const ResponseHead& head, const Chunk& chunk);
  void note_answer_body(uint64_t time_ns);
  void end_answer();
  void check_answer_end(std::string_view tail, uint64_t time_ns);

  void on_end(const Chunk& chunk);
  void end_connection(uint64_t time_ns);
  void fail_server(Open& open, uint64_t time_ns);
  void fail_client(Open& open);
  void finish_front();
  void abandon_open();
  void settle_at(uint64_t time_ns);

  const uint64_t socket_id_;
  const uint32_t tgid_;
  const Side side_;
  ExchangeHost& host_;
  Direction request_;
  Direction answer_;
  std::deque<Open> open_;  // oldest first: answers come in this order
  exchange_start start_{}; // of the newest START; pipelined requests share it
  bool start_is_fresh_ = false;
  uint64_t serial_ = 0;
  uint64_t settle_ns_ = 0; // 0: nothing waits
  bool peer_closed_ = false;
  bool local_closed_ = false;
  bool process_exited_ = false;
  bool closed_ = false;
  int error_ = 0;
};

} // namespace agent::event
