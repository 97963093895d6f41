#include "agent/export/exporter.h"

#include "agent/export/limits.h"
#include "agent/export/message.h"
#include "agent/export/overflow_file.h"
#include "agent/telemetry/limits.h"
#include "base/hex.h"
#include "base/log.h"

#include "sonde/v1/agent_results_service.pb.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace agent::exporter {
namespace {

using sonde::v1::UploadResponse;
using Clock = std::chrono::steady_clock;
using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, UploadResponse>;
constexpr const char* kMethod = "/sonde.v1.AgentResultsService/Upload";

struct Entry {
  std::string session_id;
  grpc::ByteBuffer message; // empty when it lies in the overflow file
  std::optional<OverflowFile::Extent> overflow;
  bool leaving = false; // for its extent; in memory until it is written
  size_t bytes = 0;
  uint32_t spans = 0;
  std::map<std::string, uint64_t> losses;
  bool sent = false; // on the current stream
};

void add(std::map<std::string, uint64_t>& into, const std::string& reason, uint64_t count) {
  const auto known = into.find(reason);
  if (known != into.end())
    known->second += count;
  else if (into.size() < kLossReasonsMax)
    into.emplace(reason, count);
  else
    into["OTHER"] += count;
}

} // namespace

// Everything behind one mutex: the event thread submits, gRPC's threads answer, the timer thread
// reconnects and writes to the disk, without the mutex: a disk may take a fifth of a second for a
// write, in which the ring of records would run over.
class Exporter::Spool : public std::enable_shared_from_this<Exporter::Spool> {
 public:
  class Stream;

  explicit Spool(std::filesystem::path overflow_folder) : overflow_(std::move(overflow_folder)) {}
  void start() {
    timer_ = std::jthread([this] { run_timer(); });
  }
  void stop();
  void set_channel(std::shared_ptr<grpc::Channel> channel);
  void submit(telemetry::SessionBatch batch);
  bool drain(std::chrono::milliseconds timeout);
  ExporterStats stats() const;

 private:
  void run_timer();
  Clock::time_point next_deadline_locked() const;
  void enqueue_locked(telemetry::SessionBatch batch);
  void store_locked(uint64_t number, Entry entry);
  void write_overflow(std::unique_lock<std::mutex>& lock);
  void end_overflow_locked(std::map<uint64_t, Entry>::iterator entry, bool written);
  void make_room_locked(size_t bytes);
  void drop_locked(std::map<uint64_t, Entry>::iterator entry);
  void forget_locked(std::map<uint64_t, Entry>::iterator entry);
  void open_locked();
  void pump_locked();
  void send_orphan_losses_locked();
  void close_when_idle_locked();
  void cancel_locked();

  // Of the stream, any gRPC thread.
  void on_write_done(bool ok);
  void on_answer(const UploadResponse& answer);
  void on_broken();
  void on_closed(const grpc::Status& status, std::shared_ptr<Stream> stream);

  const std::string boot_id_ = base::to_hex(base::random_bytes(16));
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<grpc::Channel> channel_;
  std::shared_ptr<Stream> stream_;
  // Streams that ended. The last reference to a channel must not go on a gRPC thread, where it
  // would join that very thread: the timer thread lets go of them.
  std::vector<std::shared_ptr<Stream>> ended_;
  std::map<uint64_t, Entry> entries_; // by batch number: unanswered
  std::map<std::string, std::map<std::string, uint64_t>>
      orphan_losses_; // by session: no batch has them
  Clock::time_point orphans_since_;
  uint64_t next_batch_ = 1;
  size_t bytes_ = 0; // of those in memory
  OverflowFile overflow_;
  std::deque<uint64_t> leaving_; // batch numbers
  size_t leaving_bytes_ = 0;
  std::optional<OverflowFile::Extent> written_for_nobody_; // answered while it was written
  uint64_t being_written_ = 0;                             // batch number
  size_t in_flight_ = 0;
  bool writing_ = false;
  bool broken_ = false;    // the stream takes nothing more
  bool cancelled_ = false; // by us: no reason to wait before the next
  bool stopping_ = false;
  std::chrono::milliseconds backoff_ = kReconnectFirst;
  Clock::time_point next_attempt_;
  Clock::time_point paused_until_;
  Clock::time_point last_activity_;
  ExporterStats stats_;
  std::jthread timer_;
};

// One Upload call. Keeps itself and the spool alive until the spool lets go of it.
class Exporter::Spool::Stream final
    : public grpc::ClientBidiReactor<grpc::ByteBuffer, UploadResponse> {
 public:
  Stream(std::shared_ptr<Spool> spool, std::shared_ptr<grpc::Channel> channel)
      : spool_(std::move(spool)), stub_(std::move(channel)) {}

  void start(std::shared_ptr<Stream> self) {
    self_ = std::move(self);
    stub_.PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    StartRead(&answer_);
    StartCall();
  }
  void write(const grpc::ByteBuffer& message) {
    outgoing_ = message;
    StartWrite(&outgoing_);
  }
  void cancel() { context_.TryCancel(); }

  void OnWriteDone(bool ok) override { spool_->on_write_done(ok); }
  void OnReadDone(bool ok) override {
    // OnDone waits for this reaction, so nobody writes to a stream that is gone.
    if (!ok) return spool_->on_broken();
    spool_->on_answer(answer_);
    StartRead(&answer_);
  }
  void OnDone(const grpc::Status& status) override { spool_->on_closed(status, std::move(self_)); }

 private:
  const std::shared_ptr<Spool> spool_;
  Stub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer outgoing_;
  UploadResponse answer_;
  std::shared_ptr<Stream> self_;
};

void Exporter::Spool::cancel_locked() {
  broken_ = true;
  cancelled_ = true;
  stream_->cancel();
}

void Exporter::Spool::stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    if (stream_) cancel_locked();
    changed_.notify_all();
    changed_.wait_for(lock, kStreamEndWait, [this] { return !stream_; });
  }
  if (timer_.joinable()) timer_.join();
  std::unique_lock lock(mutex_);
  const auto channel = std::move(channel_);
  const auto ended = std::exchange(ended_, {});
  lock.unlock();
}

void Exporter::Spool::set_channel(std::shared_ptr<grpc::Channel> channel) {
  std::shared_ptr<grpc::Channel> before; // goes after the lock
  std::lock_guard lock(mutex_);
  if (channel_ == channel) return;
  before = std::exchange(channel_, std::move(channel));
  backoff_ = kReconnectFirst;
  next_attempt_ = {};
  paused_until_ = {};
  if (stream_)
    cancel_locked();
  else
    pump_locked();
}

void Exporter::Spool::submit(telemetry::SessionBatch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || leaving_bytes_ < kLeavingBytesMax; });
  if (stopping_) return;
  enqueue_locked(std::move(batch));
  pump_locked();
  changed_.notify_all();
}

void Exporter::Spool::enqueue_locked(telemetry::SessionBatch batch) {
  if (const auto orphans = orphan_losses_.find(batch.session_id); orphans != orphan_losses_.end()) {
    for (const auto& [reason, count] : orphans->second) add(batch.losses, reason, count);
    orphan_losses_.erase(orphans);
  }
  Entry entry;
  entry.session_id = batch.session_id;
  entry.spans = batch.spans;
  entry.losses = batch.losses;
  const uint64_t number = next_batch_++;
  entry.message = encode_upload(boot_id_, number, batch);
  entry.bytes = entry.message.Length();
  store_locked(number, std::move(entry));
}

void Exporter::Spool::store_locked(uint64_t number, Entry entry) {
  if (bytes_ + entry.bytes > kSpoolBytesMax) entry.overflow = overflow_.reserve(entry.bytes);
  if (entry.overflow) {
    entry.leaving = true;
    leaving_.push_back(number);
    leaving_bytes_ += entry.bytes;
  } else {
    make_room_locked(entry.bytes);
    bytes_ += entry.bytes;
  }
  entries_.emplace(number, std::move(entry));
}

void Exporter::Spool::write_overflow(std::unique_lock<std::mutex>& lock) {
  const uint64_t number = leaving_.front();
  leaving_.pop_front();
  const auto entry = entries_.find(number);
  if (entry == entries_.end()) return changed_.notify_all(); // answered before its turn
  const auto extent = *entry->second.overflow;
  const grpc::ByteBuffer message = entry->second.message;
  being_written_ = number;
  lock.unlock();
  const bool written = overflow_.write(extent, message);
  lock.lock();
  being_written_ = 0;
  if (written_for_nobody_)
    overflow_.release(*std::exchange(written_for_nobody_, std::nullopt));
  else
    end_overflow_locked(entries_.find(number), written);
  changed_.notify_all();
}

void Exporter::Spool::end_overflow_locked(std::map<uint64_t, Entry>::iterator entry, bool written) {
  Entry& left = entry->second;
  leaving_bytes_ -= left.bytes;
  if (written) {
    left.message.Clear();
  } else { // the disk is full: it stays in memory
    make_room_locked(left.bytes);
    overflow_.release(*std::exchange(left.overflow, std::nullopt));
    bytes_ += left.bytes;
  }
  left.leaving = false;
}

// The oldest goes first: what is newest helps whoever looks now. Not what was sent: it may be
// durable already, and would be counted as lost and as found.
void Exporter::Spool::make_room_locked(size_t bytes) {
  auto entry = entries_.begin();
  while (entry != entries_.end() && bytes_ + bytes > kSpoolBytesMax) {
    const auto next = std::next(entry);
    if (!entry->second.sent && !entry->second.overflow) drop_locked(entry);
    entry = next;
  }
}

// Its losses stay on the books.
void Exporter::Spool::drop_locked(std::map<uint64_t, Entry>::iterator entry) {
  const Entry& dropped = entry->second;
  if (orphan_losses_.empty()) orphans_since_ = Clock::now();
  auto& losses = orphan_losses_[dropped.session_id];
  for (const auto& [reason, count] : dropped.losses) add(losses, reason, count);
  if (dropped.spans != 0) add(losses, "SPOOL_FULL", dropped.spans);
  stats_.lost["SPOOL_FULL"] += dropped.spans;
  forget_locked(entry);
}

void Exporter::Spool::forget_locked(std::map<uint64_t, Entry>::iterator entry) {
  const Entry& forgotten = entry->second;
  if (forgotten.leaving) leaving_bytes_ -= forgotten.bytes;
  if (entry->first == being_written_)
    written_for_nobody_ = forgotten.overflow;
  else if (forgotten.overflow)
    overflow_.release(*forgotten.overflow);
  else
    bytes_ -= forgotten.bytes;
  entries_.erase(entry);
}

void Exporter::Spool::open_locked() {
  if (stream_ || !channel_ || stopping_ || Clock::now() < next_attempt_) return;
  stream_ = std::make_shared<Stream>(shared_from_this(), channel_);
  writing_ = false;
  broken_ = false;
  cancelled_ = false;
  last_activity_ = Clock::now();
  stream_->start(stream_);
}

// Writes the oldest unsent batch, when there is a stream that takes one.
void Exporter::Spool::pump_locked() {
  if (entries_.size() == in_flight_) return;
  open_locked();
  if (!stream_ || broken_ || writing_ || in_flight_ >= kInFlightBatchesMax) return;
  if (Clock::now() < paused_until_) return;
  const auto next = std::find_if(
      entries_.begin(), entries_.end(), [](const auto& entry) { return !entry.second.sent; });
  if (next == entries_.end()) return;
  auto message = next->second.message;
  if (next->second.overflow && !next->second.leaving) {
    auto read = overflow_.get(*next->second.overflow);
    if (!read) return drop_locked(next); // the disk has failed
    message = *std::move(read);
  }
  next->second.sent = true;
  ++in_flight_;
  ++stats_.batches_sent;
  writing_ = true;
  last_activity_ = Clock::now();
  stream_->write(message);
}

void Exporter::Spool::on_write_done(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (ok) pump_locked();
}

void Exporter::Spool::on_answer(const UploadResponse& answer) {
  std::lock_guard lock(mutex_);
  last_activity_ = Clock::now();
  backoff_ = kReconnectFirst;
  const auto found = entries_.find(answer.batch());
  if (found == entries_.end()) return; // dropped meanwhile for want of room
  Entry& entry = found->second;
  if (entry.sent) --in_flight_;
  if (answer.outcome() == UploadResponse::RETRY) {
    entry.sent = false;
    const std::chrono::milliseconds asked(
        answer.retry_after().seconds() * 1000 + answer.retry_after().nanos() / 1'000'000);
    paused_until_ =
        Clock::now() +
        (answer.has_retry_after() ? std::clamp(asked, kReconnectFirst, kRetryMax) : kRetryDefault);
    changed_.notify_all();
    return;
  }
  if (answer.outcome() == UploadResponse::ACCEPTED) {
    ++stats_.batches_accepted;
    stats_.spans_accepted += entry.spans;
  } else if (answer.outcome() == UploadResponse::DUPLICATE) {
    ++stats_.batches_duplicate;
    stats_.spans_accepted += entry.spans;
  } else {
    add(stats_.lost, answer.reason().empty() ? "REFUSED" : answer.reason(), entry.spans);
  }
  forget_locked(found);
  pump_locked();
  if (entries_.empty()) changed_.notify_all();
}

void Exporter::Spool::on_broken() {
  std::lock_guard lock(mutex_);
  broken_ = true;
}

// What was not answered goes out again on the next stream.
void Exporter::Spool::on_closed(const grpc::Status& status, std::shared_ptr<Stream> stream) {
  std::lock_guard lock(mutex_);
  ended_.push_back(std::move(stream));
  stream_.reset();
  writing_ = false;
  in_flight_ = 0;
  for (auto& [number, entry] : entries_) entry.sent = false;
  if (!cancelled_) {
    base::log::debug("results stream ended: {}", status.error_message());
    const auto jitter = std::chrono::milliseconds(
        static_cast<uint8_t>(base::random_bytes(1)[0]) * backoff_.count() / 512);
    next_attempt_ = Clock::now() + backoff_ + jitter;
    backoff_ = std::min(backoff_ * 2, kReconnectLast);
  }
  changed_.notify_all();
}

void Exporter::Spool::send_orphan_losses_locked() {
  if (orphan_losses_.empty() || Clock::now() < orphans_since_ + telemetry::kLossAge) return;
  // Only when the spool drains again: a batch now would push out another one.
  if (bytes_ > kSpoolBytesMax / 2) return;
  std::vector<std::string> sessions;
  for (const auto& [session_id, losses] : orphan_losses_) sessions.push_back(session_id);
  for (const std::string& session_id : sessions) enqueue_locked({.session_id = session_id});
}

void Exporter::Spool::close_when_idle_locked() {
  if (!stream_ || broken_) return;
  const auto quiet = Clock::now() - last_activity_;
  const bool unanswered = in_flight_ != 0;
  if (quiet > (unanswered ? Clock::duration(kAnswerTimeout) : Clock::duration(kIdleClose))) {
    cancel_locked();
  }
}

Clock::time_point Exporter::Spool::next_deadline_locked() const {
  auto next = Clock::time_point::max();
  if (stream_ && !broken_)
    next = last_activity_ +
           (in_flight_ != 0 ? Clock::duration(kAnswerTimeout) : Clock::duration(kIdleClose));
  const auto now = Clock::now();
  if (entries_.size() > in_flight_ && channel_) {
    if (!stream_) next = std::min(next, next_attempt_);
    if (paused_until_ > now) next = std::min(next, paused_until_);
  }
  if (!orphan_losses_.empty())
    next = std::min(next, std::max(now, orphans_since_) + telemetry::kLossAge);
  return next;
}

void Exporter::Spool::run_timer() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto deadline = next_deadline_locked();
    if (!ended_.empty()) {
      auto ended = std::exchange(ended_, {});
      lock.unlock();
      ended.clear();
      lock.lock();
    } else if (!leaving_.empty()) {
      write_overflow(lock);
    } else if (deadline == Clock::time_point::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, std::max(deadline, Clock::now() + kTimerStep));
    }
    if (stopping_) return;
    send_orphan_losses_locked();
    close_when_idle_locked();
    pump_locked();
  }
}

bool Exporter::Spool::drain(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(
      lock, timeout, [this] { return entries_.empty() && being_written_ == 0; });
}

ExporterStats Exporter::Spool::stats() const {
  std::lock_guard lock(mutex_);
  ExporterStats result = stats_;
  result.spool_batches = entries_.size();
  result.spool_bytes = bytes_ + overflow_.bytes();
  result.connected = stream_ && !broken_;
  return result;
}

Exporter::Exporter(std::filesystem::path overflow_folder)
    : spool_(std::make_shared<Spool>(std::move(overflow_folder))) {
  spool_->start();
}
Exporter::~Exporter() { spool_->stop(); }

void Exporter::set_channel(std::shared_ptr<grpc::Channel> channel) {
  spool_->set_channel(std::move(channel));
}
void Exporter::submit(telemetry::SessionBatch batch) { spool_->submit(std::move(batch)); }
bool Exporter::drain(std::chrono::milliseconds timeout) { return spool_->drain(timeout); }
ExporterStats Exporter::stats() const { return spool_->stats(); }

} // namespace agent::exporter
