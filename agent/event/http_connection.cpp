// How bytes become exchanges: heads begin them, bodies and answers carry them on. How they end is
// told in http_connection_end.cpp.
#include "agent/event/http_connection.h"

#include "agent/event/limits.h"

#include <algorithm>
#include <cstring>

namespace agent::event {
namespace {

Endpoint endpoint_of(const socket_address& address) {
  Endpoint endpoint;
  std::memcpy(endpoint.address.data(), address.address, sizeof(address.address));
  endpoint.address_bytes = address.family_bytes;
  endpoint.port = address.port;
  return endpoint;
}

bool may_be_answer(std::string_view bytes) {
  constexpr std::string_view kBegin = "HTTP/1.";
  return kBegin.starts_with(bytes.substr(0, kBegin.size()));
}

// What of a chunk lies behind the bytes that are known: one that was read alone comes again with
// its chunk.
struct NewBytes {
  std::string_view beginning;
  uint64_t unseen = 0;
  std::string_view tail;
};

NewBytes new_bytes(const Chunk& chunk, uint64_t next_offset) {
  const uint64_t known = next_offset - chunk.stream_offset;
  const uint64_t left = chunk.length - known;
  NewBytes bytes{.beginning = chunk.beginning, .tail = chunk.tail};
  bytes.beginning.remove_prefix(std::min<uint64_t>(known, bytes.beginning.size()));
  const uint64_t behind = left - bytes.beginning.size();
  if (bytes.tail.size() > behind) bytes.tail.remove_prefix(bytes.tail.size() - behind);
  bytes.unseen = behind - bytes.tail.size();
  return bytes;
}

} // namespace

HttpConnection::HttpConnection(uint64_t socket_id, uint32_t tgid, Side side, ExchangeHost& host)
    : socket_id_(socket_id), tgid_(tgid), side_(side), host_(host) {}

void HttpConnection::on_chunk(const Chunk& chunk) {
  if (chunk.has(CHUNK_END)) return on_end(chunk);
  const bool request = is_request(chunk);
  Direction& direction = request ? request_ : answer_;
  if (chunk.has(CHUNK_START) && request) begin_at(chunk);

  const uint64_t end = chunk.stream_offset + chunk.length;
  if (!direction.seen) direction.next_offset = chunk.stream_offset;
  direction.seen = true;
  if (end < chunk.stream_offset || end <= direction.next_offset) return;
  if (chunk.stream_offset > direction.next_offset) {
    const uint64_t gap = chunk.stream_offset - direction.next_offset;
    request ? skip_request(gap, false) : skip_answer(gap, chunk.time_ns);
    direction.next_offset = chunk.stream_offset;
  }
  const NewBytes bytes = new_bytes(chunk, direction.next_offset);
  direction.next_offset = end;
  if (request) {
    see_request(bytes.beginning, chunk);
    skip_request(bytes.unseen, true);
    see_request(bytes.tail, chunk);
  } else {
    see_answer(bytes.beginning, chunk);
    skip_answer(bytes.unseen, chunk.time_ns);
    see_answer(bytes.tail, chunk);
    check_answer_end(bytes.unseen > 0 ? bytes.tail : bytes.beginning, chunk.time_ns);
  }
}

bool HttpConnection::is_inside_body(const Chunk& chunk) const {
  if (!request_.seen || request_.state != Direction::State::kBody || request_.body.lost())
    return false;
  if (request_.body.framing() == Framing::kUntilClose) return false;
  if (chunk.stream_offset <= request_.next_offset) return true;
  // Bytes are missing in between; with a length it is known how far the body reaches.
  BodyReader rest = request_.body;
  rest.skip(chunk.stream_offset - request_.next_offset);
  return !rest.complete() && !rest.lost();
}

// The kernel saw what may be a head. What is known of lengths decides.
void HttpConnection::begin_at(const Chunk& chunk) {
  if (request_.state == Direction::State::kTunnel) return;
  if (side_ == Side::kServer && is_inside_body(chunk)) return;
  if (answer_.seen && chunk.other_offset > answer_.next_offset) {
    skip_answer(chunk.other_offset - answer_.next_offset, chunk.time_ns);
    answer_.next_offset = chunk.other_offset;
  }
  start_ = chunk.start;
  start_is_fresh_ = true;
  // A client begins nothing before it is done with what was; requests to a server may be pipelined.
  const bool follows = side_ == Side::kServer && request_.seen &&
                       request_.state == Direction::State::kHead &&
                       chunk.stream_offset <= request_.next_offset;
  while (!open_.empty() && (open_.front().doubtful || open_.front().complete)) finish_front();
  if (follows) return;
  abandon_open();
  request_.state = Direction::State::kHead;
  request_.head.clear();
  request_.seen = true;
  request_.next_offset = chunk.stream_offset;
  answer_.state = Direction::State::kHead;
  answer_.head.clear();
  answer_.seen = true;
  answer_.next_offset = chunk.other_offset;
}

// --- the request
// ----------------------------------------------------------------------------------------

void HttpConnection::see_request(std::string_view bytes, const Chunk& chunk) {
  while (!bytes.empty()) {
    size_t taken = bytes.size();
    if (request_.state == Direction::State::kHead) {
      taken = see_request_head(bytes, chunk);
    } else if (request_.state == Direction::State::kBody) {
      taken = request_.body.see(bytes);
      note_request_body();
    }
    bytes.remove_prefix(taken);
  }
}

void HttpConnection::skip_request(uint64_t bytes, bool was_there) {
  if (bytes == 0) return;
  if (request_.state == Direction::State::kBody) {
    bytes -= request_.body.skip(bytes);
    note_request_body();
    if (bytes == 0) return;
  }
  if (request_.state != Direction::State::kHead) return;
  if (was_there && !request_.head.empty())
    ++host_.counts().heads_truncated;
  else
    ++host_.counts().heads_lost;
  request_.head.clear();
  request_.state = Direction::State::kLost;
}

void HttpConnection::note_request_body() {
  if (!open_.empty() && open_.back().serial == request_.owner) {
    HttpExchange& exchange = open_.back().value;
    exchange.request_body_bytes = request_.body.bytes();
    exchange.request_body_exact = request_.body.exact();
  }
  if (!request_.body.complete()) return;
  request_.state = Direction::State::kHead;
  if (!open_.empty() && open_.front().complete && open_.front().serial == request_.owner &&
      !peer_closed_)
    finish_front();
}

size_t HttpConnection::see_request_head(std::string_view bytes, const Chunk& chunk) {
  RequestHead head;
  const size_t before = request_.head.size();
  const uint64_t now_ns = start_is_fresh_ ? start_.first_byte_ns : chunk.time_ns;
  const uint64_t first_byte_ns = before > 0 ? request_.head_ns : now_ns;
  ParseResult result = ParseResult::kIncomplete;
  if (before == 0) {
    result = parse_request_head(bytes, head);
  } else {
    request_.head.append(bytes.substr(0, kHeadBytesMax - std::min(before, kHeadBytesMax)));
    result = parse_request_head(request_.head, head);
  }
  if (result == ParseResult::kComplete) {
    const size_t taken = head.bytes - before;
    begin_exchange(head, chunk, first_byte_ns);
    request_.head.clear();
    return taken;
  }
  if (result == ParseResult::kIncomplete && before + bytes.size() < kHeadBytesMax) {
    if (before == 0) {
      request_.head.assign(bytes);
      request_.head_ns = first_byte_ns;
    }
    return bytes.size();
  }
  ++(result == ParseResult::kMalformed ? host_.counts().heads_malformed
                                       : host_.counts().heads_truncated);
  request_.head.clear();
  request_.state = Direction::State::kLost;
  return bytes.size();
}

void HttpConnection::begin_exchange(
    const RequestHead& head, const Chunk& chunk, uint64_t first_byte_ns) {
  if (open_.size() >= kPipelinedRequestsMax) {
    ++host_.counts().exchanges_evicted;
    request_.state = Direction::State::kLost;
    return;
  }
  Open& open = open_.emplace_back();
  open.serial = ++serial_;
  HttpExchange& exchange = open.value;
  exchange.side = side_;
  exchange.pid = tgid_;
  exchange.start_ns = first_byte_ns;
  exchange.end_ns = chunk.time_ns;
  exchange.method = head.method.substr(0, kMethodBytesMax);
  exchange.target = head.target.substr(0, kTargetBytesMax);
  exchange.version_minor = head.version_minor;
  exchange.host = head.host.substr(0, kHostBytesMax);
  exchange.user_agent = head.user_agent.substr(0, kUserAgentBytesMax);
  use_start(exchange);
  host_.resolve_context(exchange, head);
  request_.body = BodyReader(head.framing, head.content_length);
  request_.owner = open.serial;
  request_.state =
      head.framing == Framing::kNone ? Direction::State::kHead : Direction::State::kBody;
  if (open_.size() == 1 && answer_.state == Direction::State::kLost)
    answer_.state = Direction::State::kHead;
}

void HttpConnection::use_start(HttpExchange& exchange) {
  exchange.goid = start_.goid;
  exchange.parent_goid = start_.parent_goid;
  exchange.randomness = start_.randomness;
  exchange.threshold = start_.threshold;
  exchange.local = endpoint_of(start_.local);
  exchange.peer = endpoint_of(start_.peer);
  // Behind a pipelined head the position is not known.
  exchange.hop_key = start_is_fresh_ && start_.hop_key != 0;
  if (exchange.hop_key) {
    exchange.receive_position = start_.receive_position;
    exchange.send_position = start_.send_position;
  }
  start_is_fresh_ = false;
}

// --- the answer
// -----------------------------------------------------------------------------------------

void HttpConnection::see_answer(std::string_view bytes, const Chunk& chunk) {
  while (!bytes.empty() && !open_.empty()) {
    if (answer_.state == Direction::State::kHead) {
      bytes.remove_prefix(see_answer_head(bytes, chunk));
    } else if (answer_.state == Direction::State::kBody) {
      bytes.remove_prefix(answer_.body.see(bytes));
      note_answer_body(chunk.time_ns);
    } else {
      return;
    }
  }
}

void HttpConnection::skip_answer(uint64_t bytes, uint64_t time_ns) {
  if (bytes == 0) return;
  if (!open_.empty() && open_.front().complete) finish_front();
  if (open_.empty()) return;
  if (answer_.state == Direction::State::kBody) {
    bytes -= answer_.body.skip(bytes);
    note_answer_body(time_ns);
    if (bytes == 0) return;
    if (!open_.empty() && open_.front().complete) finish_front();
    if (open_.empty()) return;
  }
  if (answer_.state != Direction::State::kHead) return;
  // The rest of a head is not to be seen. Its first line is enough for the status; the end has to
  // be guessed.
  ResponseHead head;
  if (parse_status_line(answer_.head, head) && head.status >= 200) {
    Open& open = open_.front();
    open.answered = open.doubtful = true;
    open.value.status = head.status;
    open.value.answer_ns = open.value.answer_ns == 0 ? time_ns : open.value.answer_ns;
    open.value.end_ns = time_ns;
    open.value.response_body_exact = false;
    settle_at(time_ns + 10 * kSettleNs);
  } else {
    ++host_.counts().exchanges_incomplete;
    open_.pop_front();
  }
  answer_.head.clear();
  answer_.state = Direction::State::kLost;
}

size_t HttpConnection::see_answer_head(std::string_view bytes, const Chunk& chunk) {
  if (open_.front().complete) { // it waited; this is the answer to the next one
    finish_front();
    return 0;
  }
  ResponseHead head;
  const size_t before = answer_.head.size();
  ParseResult result = ParseResult::kIncomplete;
  if (before == 0) {
    result = may_be_answer(bytes) ? parse_response_head(bytes, head) : ParseResult::kMalformed;
  } else {
    answer_.head.append(bytes.substr(0, kHeadBytesMax - std::min(before, kHeadBytesMax)));
    result = parse_response_head(answer_.head, head);
  }
  if (result == ParseResult::kComplete) {
    const size_t taken = head.bytes - before;
    begin_answer(head, chunk);
    answer_.head.clear();
    return taken;
  }
  if (result == ParseResult::kIncomplete && before + bytes.size() < kHeadBytesMax) {
    if (before == 0) answer_.head.assign(bytes);
    return bytes.size();
  }
  if (result == ParseResult::kIncomplete) {
    skip_answer(1, chunk.time_ns);
    return bytes.size();
  }
  // Not HTTP: the handler took the connection over.
  Open& open = open_.front();
  open.value.outcome = side_ == Side::kServer ? Outcome::kHijack : Outcome::kReset;
  open.value.error =
      side_ == Side::kServer ? "hijacked: the answer is not HTTP" : "malformed answer";
  open.value.end_ns = chunk.time_ns;
  finish_front();
  request_.state = answer_.state = Direction::State::kTunnel;
  return bytes.size();
}

void HttpConnection::begin_answer(const ResponseHead& head, const Chunk& chunk) {
  if (head.status < 200 && head.status != 101) return; // interim: the answer is still to come
  Open& open = open_.front();
  open.answered = true;
  open.value.status = head.status;
  open.value.answer_ns = chunk.time_ns;
  open.value.end_ns = chunk.time_ns;
  if (side_ == Side::kClient) open.value.location = head.location.substr(0, kLocationBytesMax);
  const Framing framing = framing_of(head, open.value.method);
  answer_.body = BodyReader(framing, head.content_length);
  answer_.owner = open.serial;
  answer_.state = Direction::State::kBody;
  if (framing == Framing::kTunnel) {
    answer_.body.close();
    request_.state = Direction::State::kTunnel;
    end_answer();
    request_.state = answer_.state = Direction::State::kTunnel;
  } else if (answer_.body.complete()) {
    end_answer();
  }
}

void HttpConnection::note_answer_body(uint64_t time_ns) {
  Open& open = open_.front();
  open.value.end_ns = time_ns;
  open.value.response_body_bytes = answer_.body.bytes();
  open.value.response_body_exact = answer_.body.exact();
  open.doubtful = false;
  if (answer_.body.complete()) end_answer();
}

void HttpConnection::end_answer() {
  Open& open = open_.front();
  open.complete = true;
  answer_.state = Direction::State::kHead;
  const bool body_follows =
      request_.state == Direction::State::kBody && request_.owner == open.serial;
  // A peer that left may still refuse the answer, and a body may still be read: both are told soon.
  if (body_follows || peer_closed_)
    settle_at(open.value.end_ns + kSettleNs);
  else
    finish_front();
}

// Where chunk ends were not copied, the last chunk's look is all there is.
void HttpConnection::check_answer_end(std::string_view tail, uint64_t time_ns) {
  if (open_.empty() || answer_.state != Direction::State::kBody || !answer_.body.lost()) return;
  open_.front().doubtful = answer_.body.looks_ended(tail);
  if (open_.front().doubtful) settle_at(time_ns + kSettleNs);
}

} // namespace agent::event
