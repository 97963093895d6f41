// Records in, HTTP exchanges out: which bytes belong to which request, and which request to which
// trace.
#pragma once

#include "agent/event/counts.h"
#include "agent/event/http_connection.h"
#include "agent/event/http_exchange.h"
#include "agent/event/random_ids.h"
#include "agent/event/record.h"

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>

namespace agent::event {

// Pure but for its memory, which is bounded (limits.h). Not thread-safe: it belongs to the thread
// that reads the ring.
class HttpStitcher final : private ExchangeHost {
 public:
  // Called for every exchange that is over, in the order of their ends on each connection.
  using Sink = std::function<void(const HttpExchange&)>;

  // `seed` makes the ids; the same seed and records give the same exchanges.
  HttpStitcher(uint64_t seed, Sink sink);
  ~HttpStitcher() override;

  void take(const Record& record);
  // Time went by: ends exchanges that waited for silence. `now_ns` is CLOCK_BOOTTIME; all records
  // before it are in.
  void advance(uint64_t now_ns);
  // Forgets everything of a process: it ended or is not traced any more. Its open exchanges are
  // given up.
  void forget_process(uint32_t tgid);

  const StitcherCounts& statistics() const { return counts_; }
  size_t connections() const { return connections_.size(); }

 private:
  struct Goroutine {
    uint32_t tgid;
    uint64_t goid;
    bool operator==(const Goroutine&) const = default;
  };
  struct GoroutineHash {
    size_t operator()(const Goroutine& key) const {
      return (key.goid * 0x9e3779b97f4a7c15) ^ (uint64_t{key.tgid} << 32 | key.tgid);
    }
  };
  struct Entry {
    HttpConnection connection;
    bool settling = false; // it is in settling_
  };
  using Recency = std::list<Entry>;
  using SocketOf = std::unordered_map<Goroutine, uint64_t, GoroutineHash>;

  void resolve_context(HttpExchange& exchange, const RequestHead& head) override;
  void finish(HttpExchange& exchange) override;
  StitcherCounts& counts() override { return counts_; }

  void take_chunk(const Chunk& chunk);
  void take_state(const SocketState& state);
  void take_panic(const Panic& panic);
  void take_call_error(const CallError& error);
  void take_dial_error(const DialError& error);
  Entry* find(uint64_t socket_id, uint32_t tgid);
  Entry& make(const Chunk& chunk);
  void after(Entry& entry);
  void erase(uint64_t socket_id);
  SocketOf& index_of(const HttpConnection& connection);
  void index(const HttpConnection& connection, uint64_t goid_before);
  Entry* entry_of(const SocketOf& index, const Goroutine& goroutine);
  const HttpExchange* find_parent(const HttpExchange& call);
  void expect_resend(const HttpExchange& call);
  uint32_t resend_count(const HttpExchange& call);
  bool belongs_to(const HttpExchange& call, const HttpExchange* parent);

  RandomIds ids_;
  Sink sink_;
  StitcherCounts counts_;
  Recency recency_; // most recently used first
  std::unordered_map<uint64_t, Recency::iterator> connections_;
  SocketOf servers_; // whose request a goroutine answers
  SocketOf clients_; // whose answer it waits for
  // The span in which a goroutine was first seen calling on behalf of the one that started it.
  std::unordered_map<Goroutine, std::array<uint8_t, 8>, GoroutineHash> children_;
  std::deque<Goroutine> children_by_age_;
  // What a goroutine is likely to call next, and how often it has.
  struct Resend {
    std::string target;
    uint32_t count;
  };
  std::unordered_map<Goroutine, Resend, GoroutineHash> resends_;
  std::deque<Goroutine> resends_by_age_;
  std::deque<uint64_t> settling_; // socket ids
};

} // namespace agent::event
