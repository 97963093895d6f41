#include "agent/event/http_stitcher.h"

#include "agent/event/dial_error.h"
#include "agent/event/limits.h"
#include "agent/event/trace_context.h"

namespace agent::event {
namespace {

constexpr uint8_t kSampledAndRandom = 0x03; // trace-flags of a trace that begins here

template <class... F> struct Overloaded : F... {
  using F::operator()...;
};
template <class... F> Overloaded(F...) -> Overloaded<F...>;

void join_tracestate(const RequestHead& head, std::string& out) {
  for (std::string_view part : head.tracestate) {
    if (part.empty() || out.size() + part.size() + 1 > kTracestateBytesMax) continue;
    if (!out.empty()) out += ',';
    out += part;
  }
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The request target that a Location leads to: without scheme, host and fragment.
std::string_view target_of(std::string_view location) {
  if (const size_t scheme = location.find("://"); scheme != std::string_view::npos) {
    const size_t path = location.find('/', scheme + 3);
    if (path == std::string_view::npos) return "/";
    location.remove_prefix(path);
  }
  return location.substr(0, location.find('#'));
}

} // namespace

HttpStitcher::HttpStitcher(uint64_t seed, Sink sink) : ids_(seed), sink_(std::move(sink)) {}
HttpStitcher::~HttpStitcher() = default;

void HttpStitcher::take(const Record& record) {
  ++counts_.records;
  std::visit(
      Overloaded{
          [this](const Chunk& chunk) { take_chunk(chunk); },
          [this](const SocketState& state) { take_state(state); },
          [this](const Panic& panic) { take_panic(panic); },
          [this](const CallError& error) { take_call_error(error); },
          [this](const DialError& error) { take_dial_error(error); },
      },
      record);
}

void HttpStitcher::take_chunk(const Chunk& chunk) {
  Entry* entry = find(chunk.socket_id, chunk.tgid);
  if (!entry) {
    if (!chunk.has(CHUNK_START)) return; // of an exchange whose beginning was lost
    entry = &make(chunk);
  }
  const uint64_t goid_before = entry->connection.goid();
  entry->connection.on_chunk(chunk);
  if (chunk.has(CHUNK_START)) index(entry->connection, goid_before);
  after(*entry);
}

void HttpStitcher::take_state(const SocketState& state) {
  Entry* entry = find(state.socket_id, state.tgid);
  if (!entry) return;
  entry->connection.on_state(state);
  after(*entry);
}

void HttpStitcher::take_panic(const Panic& panic) {
  if (Entry* entry = entry_of(servers_, {panic.tgid, panic.goid}))
    entry->connection.on_panic(panic);
}

void HttpStitcher::take_call_error(const CallError& error) {
  Entry* entry = entry_of(clients_, {error.tgid, error.goid});
  if (!entry) return;
  entry->connection.on_call_error(error);
  after(*entry);
}

void HttpStitcher::take_dial_error(const DialError& error) {
  HttpExchange call = exchange_of(error);
  resolve_context(call, {});
  finish(call);
}

void HttpStitcher::after(Entry& entry) {
  const uint64_t socket_id = entry.connection.socket_id();
  if (entry.connection.settling() && !entry.settling) {
    entry.settling = true;
    settling_.push_back(socket_id);
  }
  if (entry.connection.closed()) erase(socket_id);
}

void HttpStitcher::advance(uint64_t now_ns) {
  for (size_t left = settling_.size(); left > 0; --left) {
    const uint64_t socket_id = settling_.front();
    settling_.pop_front();
    auto found = connections_.find(socket_id);
    if (found == connections_.end()) continue;
    Entry& entry = *found->second;
    entry.settling = false;
    entry.connection.settle(now_ns);
    after(entry);
  }
}

void HttpStitcher::forget_process(uint32_t tgid) {
  for (auto at = recency_.begin(); at != recency_.end();) {
    Entry& entry = *at++;
    if (entry.connection.tgid() != tgid) continue;
    entry.connection.evict();
    erase(entry.connection.socket_id());
  }
}

// --- connections
// ----------------------------------------------------------------------------------------

HttpStitcher::Entry* HttpStitcher::find(uint64_t socket_id, uint32_t tgid) {
  auto found = connections_.find(socket_id);
  if (found == connections_.end() || found->second->connection.tgid() != tgid) return nullptr;
  recency_.splice(recency_.begin(), recency_, found->second);
  return &*found->second;
}

HttpStitcher::Entry& HttpStitcher::make(const Chunk& chunk) {
  if (auto found = connections_.find(chunk.socket_id); found != connections_.end()) {
    found->second->connection.evict(); // its process handed the socket on to another
    erase(chunk.socket_id);
  }
  if (connections_.size() >= kConnectionsMax) {
    HttpConnection& oldest = recency_.back().connection;
    oldest.evict();
    erase(oldest.socket_id());
  }
  const Side side = chunk.has(CHUNK_CLIENT) ? Side::kClient : Side::kServer;
  ExchangeHost& host = *this;
  recency_.push_front({HttpConnection(chunk.socket_id, chunk.tgid, side, host)});
  connections_[chunk.socket_id] = recency_.begin();
  return recency_.front();
}

void HttpStitcher::erase(uint64_t socket_id) {
  auto found = connections_.find(socket_id);
  if (found == connections_.end()) return;
  const HttpConnection& connection = found->second->connection;
  SocketOf& sockets = index_of(connection);
  auto entry = sockets.find({connection.tgid(), connection.goid()});
  if (entry != sockets.end() && entry->second == socket_id) sockets.erase(entry);
  recency_.erase(found->second);
  connections_.erase(found);
}

HttpStitcher::SocketOf& HttpStitcher::index_of(const HttpConnection& connection) {
  return connection.side() == Side::kServer ? servers_ : clients_;
}

// A server's goroutine stays with its connection; a client's connection serves many.
void HttpStitcher::index(const HttpConnection& connection, uint64_t goid_before) {
  SocketOf& sockets = index_of(connection);
  if (goid_before != connection.goid()) {
    auto entry = sockets.find({connection.tgid(), goid_before});
    if (entry != sockets.end() && entry->second == connection.socket_id()) sockets.erase(entry);
  }
  if (connection.goid() != 0)
    sockets[{connection.tgid(), connection.goid()}] = connection.socket_id();
}

HttpStitcher::Entry* HttpStitcher::entry_of(const SocketOf& index, const Goroutine& goroutine) {
  if (goroutine.goid == 0) return nullptr;
  auto entry = index.find(goroutine);
  if (entry == index.end()) return nullptr;
  auto found = connections_.find(entry->second);
  return found == connections_.end() ? nullptr : &*found->second;
}

// --- context
// --------------------------------------------------------------------------------------------

void HttpStitcher::resolve_context(HttpExchange& exchange, const RequestHead& head) {
  exchange.span_id = ids_.span_id();
  if (exchange.side == Side::kClient) {
    exchange.resend_count = resend_count(exchange);
    if (const HttpExchange* parent = find_parent(exchange)) {
      exchange.trace_id = parent->trace_id;
      exchange.parent_span_id = parent->span_id;
      exchange.trace_flags = parent->trace_flags;
      exchange.tracestate = parent->tracestate;
      exchange.randomness = parent->randomness;
      exchange.threshold = parent->threshold;
      return;
    }
  } else if (auto parent = parse_traceparent(head.traceparent)) {
    exchange.trace_id = parent->trace_id;
    exchange.parent_span_id = parent->span_id;
    exchange.parent_is_remote = true;
    exchange.trace_flags = parent->flags;
    join_tracestate(head, exchange.tracestate);
    return;
  }
  exchange.trace_id = ids_.trace_id(exchange.randomness);
  exchange.trace_flags = kSampledAndRandom;
}

const HttpExchange* HttpStitcher::find_parent(const HttpExchange& call) {
  if (Entry* own = entry_of(servers_, {call.pid, call.goid}))
    if (const HttpExchange* request = own->connection.open_exchange()) return request;
  Entry* starter = entry_of(servers_, {call.pid, call.parent_goid});
  if (!starter) return nullptr;
  const HttpExchange* request = starter->connection.open_exchange();
  return belongs_to(call, request) ? request : nullptr;
}

// Go does not tell when a goroutine began. One that lives on, a worker, must not be given to the
// request that its starter happens to answer by now: it belongs to the one in which it was first
// seen.
bool HttpStitcher::belongs_to(const HttpExchange& call, const HttpExchange* parent) {
  if (call.goid == 0) return false;
  const Goroutine key{call.pid, call.goid};
  const std::array<uint8_t, 8> span_id = parent ? parent->span_id : std::array<uint8_t, 8>{};
  auto [entry, is_new] = children_.try_emplace(key, span_id);
  if (!is_new) return parent && entry->second == span_id;
  children_by_age_.push_back(key);
  if (children_by_age_.size() > kChildGoroutinesMax) {
    children_.erase(children_by_age_.front());
    children_by_age_.pop_front();
  }
  return parent != nullptr;
}

void HttpStitcher::expect_resend(const HttpExchange& call) {
  const bool redirect =
      call.outcome == Outcome::kComplete && is_redirect(call.status) && !call.location.empty();
  if (call.goid == 0 || (!redirect && call.outcome != Outcome::kReset)) return;
  const Goroutine key{call.pid, call.goid};
  const std::string_view target =
      redirect ? target_of(call.location) : std::string_view(call.target);
  if (resends_.insert_or_assign(key, Resend{std::string(target), call.resend_count + 1}).second)
    resends_by_age_.push_back(key);
  if (resends_by_age_.size() > kResendsMax) {
    resends_.erase(resends_by_age_.front());
    resends_by_age_.pop_front();
  }
}

uint32_t HttpStitcher::resend_count(const HttpExchange& call) {
  auto found = resends_.find({call.pid, call.goid});
  if (found == resends_.end()) return 0;
  const bool same = !found->second.target.empty() &&
                    std::string_view(call.target).ends_with(found->second.target);
  const uint32_t count = same ? found->second.count : 0;
  resends_.erase(found);
  return count;
}

void HttpStitcher::finish(HttpExchange& exchange) {
  if (exchange.side == Side::kClient) expect_resend(exchange);
  ++counts_.exchanges;
  sink_(exchange);
}

} // namespace agent::event
