// How exchanges end: with the connection, a panic, a failed call, or silence.
#include "agent/event/http_connection.h"

#include <algorithm>

namespace agent::event {
namespace {

// include/net/tcp_states.h
constexpr int kTcpFinWait1 = 4;
constexpr int kTcpClose = 7;
constexpr int kTcpCloseWait = 8;

constexpr std::string_view kAbortMessage = "net/http: abort Handler";

} // namespace

void HttpConnection::on_end(const Chunk& chunk) {
  if (chunk.error != 0) {
    if (error_ == 0) error_ = chunk.error;
    return;
  }
  if (!chunk.received) return;
  if (!local_closed_) peer_closed_ = true;
  if (side_ == Side::kClient && !open_.empty() && answer_.state == Direction::State::kBody) {
    answer_.body.close();
    if (answer_.body.complete()) note_answer_body(chunk.time_ns);
  }
}

void HttpConnection::on_state(const SocketState& state) {
  if (state.error != 0 && error_ == 0) error_ = state.error;
  process_exited_ |= state.process_exiting;
  switch (state.new_state) {
  case kTcpCloseWait:
    peer_closed_ |= !local_closed_;
    break;
  case kTcpFinWait1:
    local_closed_ |= !peer_closed_;
    end_connection(state.time_ns);
    break;
  case kTcpClose:
    if (!peer_closed_ && error_ == 0) local_closed_ = true;
    end_connection(state.time_ns);
    closed_ = true;
    break;
  default:
    break;
  }
}

void HttpConnection::end_connection(uint64_t time_ns) {
  if (open_.empty()) return;
  Open& open = open_.front();
  if (open.answered && answer_.state == Direction::State::kBody && !open.panicked && error_ == 0) {
    open.doubtful |= answer_.body.lost();
    answer_.body.close();
    open.complete |= answer_.body.complete();
  }
  if (side_ == Side::kServer) {
    fail_server(open, time_ns);
    finish_front();
    host_.counts().exchanges_unanswered += open_.size();
    open_.clear();
  } else if (open.complete || open.doubtful) {
    finish_front();
  } else if (!open.failed) {
    open.failed = true;
    open.value.end_ns = time_ns;
    settle_at(time_ns + kSettleNs);
  }
}

// The connection of an open request ended. Sets the outcome, unless the answer was whole.
void HttpConnection::fail_server(Open& open, uint64_t time_ns) {
  HttpExchange& exchange = open.value;
  const bool peer_left = peer_closed_ || error_ != 0;
  if (open.complete || open.doubtful) {
    if (error_ == 0 || answer_.body.framing() == Framing::kTunnel) return;
    exchange.outcome = Outcome::kDisconnect;
    exchange.error = "the client closed the connection before it read the answer";
    return;
  }
  exchange.end_ns = time_ns;
  if (open.panicked) {
    const bool abort = open.panic_message == kAbortMessage;
    exchange.outcome = abort ? Outcome::kAbort : Outcome::kPanic;
    exchange.error = open.panic_message;
  } else if (process_exited_) {
    exchange.outcome = Outcome::kDisconnect;
    exchange.error = "the process ended";
  } else if (peer_left) {
    exchange.outcome = Outcome::kDisconnect;
    exchange.error =
        error_ != 0 ? "connection reset by the client" : "the client closed the connection";
  } else if (open.answered) {
    exchange.outcome = Outcome::kAbort;
    exchange.error = "the answer is shorter than it said";
  } else {
    exchange.outcome = Outcome::kHijack;
    exchange.error = "hijacked: closed without an answer";
  }
}

void HttpConnection::on_panic(const Panic& panic) {
  if (open_.empty()) return;
  Open& open = open_.front();
  open.panicked = true;
  open.panic_message = panic.message;
  if (open.panic_message.empty()) open.panic_message = "panic";
}

void HttpConnection::on_call_error(const CallError& error) {
  if (side_ != Side::kClient || open_.empty() || open_.front().answered) return;
  HttpExchange& exchange = open_.front().value;
  exchange.end_ns = error.time_ns;
  exchange.error = error.message;
  if (error.timed_out) {
    exchange.outcome = Outcome::kTimeout;
    if (exchange.error.empty()) exchange.error = "deadline exceeded";
  } else if (error.message.find("canceled") != std::string_view::npos) {
    exchange.outcome = Outcome::kCancel;
  } else {
    exchange.outcome = Outcome::kReset;
    if (exchange.error.empty()) exchange.error = "the connection broke before the answer";
  }
  finish_front();
  request_.state = answer_.state = Direction::State::kLost;
}

void HttpConnection::fail_client(Open& open) {
  HttpExchange& exchange = open.value;
  if (local_closed_ || process_exited_) {
    exchange.outcome = Outcome::kCancel;
    exchange.error = process_exited_ ? "the process ended"
                     : open.answered ? "closed before the end of the answer"
                                     : "closed before the answer";
  } else {
    exchange.outcome = Outcome::kReset;
    exchange.error =
        error_ != 0 ? "connection reset by the server" : "the server closed the connection";
  }
}

void HttpConnection::settle_at(uint64_t time_ns) { settle_ns_ = std::max(settle_ns_, time_ns); }

void HttpConnection::settle(uint64_t now_ns) {
  if (settle_ns_ == 0 || now_ns < settle_ns_) return;
  settle_ns_ = 0;
  if (open_.empty()) return;
  Open& open = open_.front();
  if (open.failed) fail_client(open);
  if (open.failed || open.complete || open.doubtful) finish_front();
}

void HttpConnection::finish_front() {
  Open& open = open_.front();
  // A panic that was recovered, and answered: the status says so, the message why.
  if (open.panicked && open.value.outcome == Outcome::kComplete && open.value.status >= 500)
    open.value.error = open.panic_message;
  if (request_.owner == open.serial && request_.state == Direction::State::kBody)
    open.value.request_body_exact = false; // the rest never came, or was never read
  host_.finish(open.value);
  if (open.answered && !open.complete && answer_.state != Direction::State::kTunnel) {
    answer_.state = Direction::State::kHead;
    answer_.head.clear();
  }
  open_.pop_front();
}

void HttpConnection::abandon_open() {
  while (!open_.empty()) {
    if (open_.front().failed) fail_client(open_.front());
    if (open_.front().complete || open_.front().doubtful || open_.front().failed) {
      finish_front();
      continue;
    }
    // Its status is known and its end is not: better no span than a wrong one.
    ++host_.counts().exchanges_incomplete;
    open_.pop_front();
  }
}

void HttpConnection::evict() {
  host_.counts().exchanges_evicted += open_.size();
  open_.clear();
}

} // namespace agent::event
