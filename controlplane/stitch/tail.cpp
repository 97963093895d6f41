#include "controlplane/stitch/tail.h"

#include "base/log.h"
#include "controlplane/stitch/limits.h"
#include "controlplane/stitch/rows.h"
#include "controlplane/store/pool.h"
#include "controlplane/store/sessions.h"
#include "controlplane/store/spans.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace controlplane::stitch {
namespace {

using base::Result;
using sonde::v1::Session;
using sonde::v1::TailSessionResponse;
using store::Transaction;
using Clock = std::chrono::steady_clock;

bool is_final(Session::State state) {
  return state == Session::SUCCEEDED || state == Session::FAILED || state == Session::CANCELLED ||
         state == Session::EXPIRED;
}

// The cursor belongs to the thread of the hub, the backlog to both sides.
class Reader final : public TailReader {
 public:
  Reader(std::string session_id, store::ArrivalCursor cursor, std::function<void()> wake)
      : session_id_(std::move(session_id)), cursor_(std::move(cursor)), wake_(std::move(wake)) {}

  std::optional<TailSessionResponse> take() override {
    std::lock_guard lock(mutex_);
    if (backlog_.empty()) return std::nullopt;
    std::optional event(std::move(backlog_.front()));
    backlog_.pop_front();
    return event;
  }
  bool ended() const override {
    std::lock_guard lock(mutex_);
    return finished_ && backlog_.empty();
  }

  const std::string& session_id() const { return session_id_; }
  bool finished() const {
    std::lock_guard lock(mutex_);
    return finished_;
  }
  void mark_due() { due_ = true; }
  bool take_due() { return due_.exchange(false); }

  // Reads what is new and wakes the other side. Hub's thread.
  Result<> read(store::Pool& pool);
  // Spans that are in no store. Any thread; false when there was no room.
  void push_spans(const std::vector<sonde::v1::Span>& spans);

 private:
  struct News {
    std::deque<TailSessionResponse> events;
    store::ArrivalCursor cursor;
    bool final = false;
    std::string etag;
  };
  Result<News> look(Transaction& tx, size_t room) const;
  Result<bool> look_at_arrivals(Transaction& tx, size_t room, News& news) const;
  size_t room() const {
    std::lock_guard lock(mutex_);
    return kTailBacklogMax - std::min(backlog_.size(), kTailBacklogMax);
  }

  const std::string session_id_;
  store::ArrivalCursor cursor_;
  std::string etag_; // of the session when it was last told
  const std::function<void()> wake_;
  std::atomic<bool> due_ = true;
  mutable std::mutex mutex_;
  std::deque<TailSessionResponse> backlog_;
  bool finished_ = false;
};

// False when there is more than fits.
Result<bool> Reader::look_at_arrivals(Transaction& tx, size_t room, News& news) const {
  while (news.events.size() < room) {
    const int limit = static_cast<int>(std::min<size_t>(kTailPage, room - news.events.size()));
    const auto arrivals = TRY(store::find_arrivals(tx, session_id_, news.cursor, limit));
    for (const store::SpanRow& row : arrivals.spans) {
      TailSessionResponse& event = news.events.emplace_back();
      event.set_event_id(
          store::format_arrival_cursor({arrivals.read, arrivals.reading, row.xid, row.position}));
      *event.mutable_span() = to_span(row);
    }
    if (arrivals.end) return true;
  }
  return false;
}

Result<Reader::News> Reader::look(Transaction& tx, size_t room) const {
  News news;
  news.cursor = cursor_;
  // The session first: what was stored before it became final is then among the arrivals.
  const auto found = TRY(store::find_sessions(tx, {session_id_}));
  if (found.empty()) {
    news.final = true; // deleted
    return news;
  }
  const Session& session = found.front();
  bool all = false;
  if (room == 0) {
    // The reader let a whole backlog wait: it is told what it missed and goes on with what is new.
    const uint64_t missed = TRY(store::skip_arrivals(tx, session_id_, news.cursor));
    all = true;
    if (missed != 0) {
      TailSessionResponse& event = news.events.emplace_back();
      event.set_event_id(store::format_arrival_cursor(news.cursor));
      event.mutable_missed()->set_reason("SLOW_READER");
      event.mutable_missed()->set_count(missed);
    }
  } else {
    all = TRY(look_at_arrivals(tx, room, news));
  }
  news.final = is_final(session.state()) && all;
  news.etag = etag_;
  if (session.etag() != etag_ && (all || !is_final(session.state()))) {
    news.etag = session.etag();
    TailSessionResponse& event = news.events.emplace_back();
    event.set_event_id(store::format_arrival_cursor(news.cursor));
    *event.mutable_session() = TRY(store::find_session(tx, session_id_));
  }
  return news;
}

Result<> Reader::read(store::Pool& pool) {
  const size_t free = room();
  auto news = TRY(pool.transaction([&](Transaction& tx) { return look(tx, free); }));
  cursor_ = std::move(news.cursor);
  etag_ = std::move(news.etag);
  if (news.events.empty() && !news.final) return {};
  {
    std::lock_guard lock(mutex_);
    // Of several `missed` in a row the newest tells them all.
    for (TailSessionResponse& event : news.events) {
      if (event.has_missed() && !backlog_.empty() && backlog_.back().has_missed()) {
        event.mutable_missed()->set_count(
            event.missed().count() + backlog_.back().missed().count());
        backlog_.back() = std::move(event);
      } else {
        backlog_.push_back(std::move(event));
      }
    }
    finished_ = finished_ || news.final;
  }
  wake_();
  return {};
}

void Reader::push_spans(const std::vector<sonde::v1::Span>& spans) {
  {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    for (const sonde::v1::Span& span : spans) {
      if (backlog_.size() < kTailBacklogMax) {
        *backlog_.emplace_back().mutable_span() = span;
        continue;
      }
      if (!backlog_.back().has_missed()) backlog_.emplace_back();
      auto& missed = *backlog_.back().mutable_missed();
      missed.set_reason("SLOW_READER");
      missed.set_count(missed.count() + 1);
    }
  }
  wake_();
}

} // namespace

class Tail::Hub {
 public:
  explicit Hub(store::Pool& pool) : pool_(pool) {
    thread_ = std::jthread([this] { run(); });
  }
  ~Hub() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }

  Result<std::shared_ptr<TailReader>>
  open(const sonde::v1::TailSessionRequest& request, std::function<void()> wake);
  void publish(
      std::string_view session_id, std::string_view agent_id, std::string_view hostname, bool kept,
      std::string_view traces);
  size_t readers() const {
    std::lock_guard lock(mutex_);
    return live_locked().size();
  }

 private:
  using Readers = std::vector<std::shared_ptr<Reader>>;
  Readers live_locked() const {
    Readers live;
    for (const auto& weak : readers_)
      if (auto reader = weak.lock()) live.push_back(std::move(reader));
    return live;
  }
  Result<store::ArrivalCursor> first_cursor(const sonde::v1::TailSessionRequest& request);
  void run();
  Readers wait();

  store::Pool& pool_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::weak_ptr<Reader>> readers_;
  bool due_ = false;
  bool stopping_ = false;
  Clock::time_point next_poll_;
  std::jthread thread_; // last: it uses the rest
};

// Where the reader begins: behind the event it names, else now.
Result<store::ArrivalCursor> Tail::Hub::first_cursor(const sonde::v1::TailSessionRequest& request) {
  store::ArrivalCursor cursor;
  const bool resumes = !request.after_event_id().empty();
  if (resumes) cursor = TRY(store::parse_arrival_cursor(request.after_event_id()));
  return pool_.transaction([&](Transaction& tx) -> Result<store::ArrivalCursor> {
    TRY(store::find_session(tx, request.session_id()));
    if (!resumes) return store::arrivals_now(tx);
    // PostgreSQL has the last word about what is a snapshot.
    auto attempt = cursor;
    if (!store::find_arrivals(tx, request.session_id(), attempt, 1))
      return base::invalid_argument("INVALID_EVENT_ID", "not the id of an event of this session")
          .at("afterEventId");
    return cursor;
  });
}

Result<std::shared_ptr<TailReader>>
Tail::Hub::open(const sonde::v1::TailSessionRequest& request, std::function<void()> wake) {
  auto cursor = TRY(first_cursor(request));
  auto reader = std::make_shared<Reader>(request.session_id(), std::move(cursor), std::move(wake));
  std::lock_guard lock(mutex_);
  if (live_locked().size() >= kTailReadersMax)
    return base::Error{
        base::Code::kResourceExhausted,
        "TOO_MANY_READERS",
        "this replica serves as many tail readers as it can",
        {}};
  readers_.push_back(reader);
  due_ = true;
  changed_.notify_all();
  return std::static_pointer_cast<TailReader>(reader);
}

void Tail::Hub::publish(
    std::string_view session_id, std::string_view agent_id, std::string_view hostname, bool kept,
    std::string_view traces) {
  Readers readers;
  {
    std::lock_guard lock(mutex_);
    if (readers_.empty()) return;
    readers = live_locked();
    std::erase_if(readers, [&](const auto& r) { return r->session_id() != session_id; });
    if (readers.empty()) return;
    for (const auto& reader : readers) reader->mark_due();
    due_ = true;
  }
  if (!kept && !traces.empty()) {
    const auto spans = to_spans(traces, agent_id, hostname);
    for (const auto& reader : readers) reader->push_spans(spans);
  }
  changed_.notify_all();
}

// The readers that should look now: somebody said so, or it is time to ask what other replicas
// stored.
Tail::Hub::Readers Tail::Hub::wait() {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return stopping_ || due_; };
  if (readers_.empty())
    changed_.wait(lock, ready);
  else
    changed_.wait_until(lock, next_poll_, ready);
  due_ = false;
  if (stopping_) return {};
  std::erase_if(readers_, [](const auto& weak) { return weak.expired(); });
  Readers readers = live_locked();
  if (Clock::now() >= next_poll_) {
    next_poll_ = Clock::now() + kTailPoll;
    for (const auto& reader : readers) reader->mark_due();
  }
  std::erase_if(readers, [](const auto& r) { return r->finished() || !r->take_due(); });
  return readers;
}

void Tail::Hub::run() {
  while (true) {
    const Readers readers = wait();
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    for (const auto& reader : readers)
      if (const auto read = reader->read(pool_); !read)
        base::log::debug("tail of {}: {}", reader->session_id(), read.error().message);
  }
}

Tail::Tail(store::Pool& pool) : hub_(std::make_shared<Hub>(pool)) {}
Tail::~Tail() = default;

Result<std::shared_ptr<TailReader>>
Tail::open(const sonde::v1::TailSessionRequest& request, std::function<void()> wake) {
  return hub_->open(request, std::move(wake));
}
void Tail::publish(
    std::string_view session_id, std::string_view agent_id, std::string_view hostname, bool kept,
    std::string_view traces) {
  hub_->publish(session_id, agent_id, hostname, kept, traces);
}
void Tail::session_changed(std::string_view session_id) {
  hub_->publish(session_id, {}, {}, true, {});
}
size_t Tail::readers() const { return hub_->readers(); }

} // namespace controlplane::stitch
