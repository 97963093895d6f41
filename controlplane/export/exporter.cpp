#include "controlplane/export/exporter.h"

#include "base/hex.h"
#include "base/log.h"
#include "controlplane/export/client.h"
#include "controlplane/store/exports.h"
#include "controlplane/store/pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace controlplane::exporter {
namespace {

using Clock = std::chrono::steady_clock;
using store::Transaction;

// Waits that end with stop().
class Pause {
 public:
  // False when stopping.
  bool wait(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return stopping_; });
    return !stopping_;
  }
  // As wait(), but ends with wake() too.
  bool wait_for_work(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, time, [this] { return stopping_ || woken_; });
    woken_ = false;
    return !stopping_;
  }
  void wake() {
    {
      std::lock_guard lock(mutex_);
      woken_ = true;
    }
    changed_.notify_all();
  }
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }
  bool stopping() const {
    std::lock_guard lock(mutex_);
    return stopping_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool stopping_ = false;
};

std::chrono::milliseconds with_jitter(std::chrono::milliseconds time) {
  const auto random = static_cast<uint8_t>(base::random_bytes(1)[0]);
  return time + std::chrono::milliseconds(random * time.count() / 512);
}

} // namespace

class Exporter::Worker {
 public:
  Worker(store::Pool& pool, std::string name, std::unique_ptr<Client> client)
      : pool_(pool), name_(std::move(name)), client_(std::move(client)) {
    stats_.name = name_;
    thread_ = std::jthread([this] { run(); });
  }
  ~Worker() { stop(); }

  void wake() { pause_.wake(); }
  void stop() {
    pause_.stop();
    client_->cancel();
    if (thread_.joinable()) thread_.join();
  }
  DestinationStats stats() const {
    std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  void run();
  // While this replica has the right to export.
  void export_all();
  base::Result<store::ExportPage> next_page(const store::ExportCursor& cursor);
  // Until it is delivered, rejected, or has to be split; false when stopping or the right is lost.
  enum class Outcome { kDone, kSplit, kStop };
  Outcome deliver(const store::ExportPage& page, store::ExportProgress& progress);
  Delivery send(const store::ExportPage& page);
  void store_progress(const store::ExportCursor& cursor, const store::ExportProgress& progress);
  template <class Change> void count(Change change) {
    std::lock_guard lock(mutex_);
    change(stats_);
  }

  store::Pool& pool_;
  const std::string name_;
  const std::unique_ptr<Client> client_;
  std::unique_ptr<store::ExportLock> right_;
  int batches_max_ = kRequestBatchesMax; // 1 while a bad batch is looked for
  Pause pause_;
  mutable std::mutex mutex_;
  DestinationStats stats_;
  std::jthread thread_; // last: it uses the rest
};

void Exporter::Worker::run() {
  while (!pause_.stopping()) {
    auto right = store::ExportLock::try_acquire(pool_.options(), name_);
    if (right && *right) {
      right_ = *std::move(right);
      count([](DestinationStats& s) { s.exporting = true; });
      export_all();
      count([](DestinationStats& s) { s.exporting = false; });
      right_.reset();
    } else if (!right) {
      base::log::debug("export to {}: {}", name_, right.error().message);
    }
    pause_.wait(kLockRetry);
  }
}

base::Result<store::ExportPage> Exporter::Worker::next_page(const store::ExportCursor& cursor) {
  return pool_.transaction([&](Transaction& tx) {
    return store::find_export_page(tx, name_, cursor, batches_max_, kRequestBytesMax);
  });
}

void Exporter::Worker::export_all() {
  auto cursor =
      pool_.transaction([&](Transaction& tx) { return store::find_export_cursor(tx, name_); });
  while (cursor && !pause_.stopping() && right_->held()) {
    auto page = next_page(*cursor);
    if (!page) {
      base::log::warn("export to {} waits for the store: {}", name_, page.error().message);
      return;
    }
    if (!page->batches.empty()) {
      store::ExportProgress progress;
      const Outcome outcome = deliver(*page, progress);
      if (outcome == Outcome::kStop) return;
      if (outcome == Outcome::kSplit) {
        batches_max_ = 1;
        continue;
      }
      store_progress(page->next, progress);
    }
    *cursor = page->next;
    if (!page->end) continue;
    batches_max_ = kRequestBatchesMax;
    if (!pause_.wait_for_work(kPoll)) return;
  }
}

// What was delivered but could not be noted is delivered again: at least once.
void Exporter::Worker::store_progress(
    const store::ExportCursor& cursor, const store::ExportProgress& progress) {
  const auto stored = pool_.transaction(
      [&](Transaction& tx) { return store::write_export_cursor(tx, name_, cursor, progress); });
  if (!stored) base::log::warn("export to {}: {}", name_, stored.error().message);
}

Delivery Exporter::Worker::send(const store::ExportPage& page) {
  std::string traces;
  for (const store::ExportBatch& batch : page.batches)
    traces += batch.traces; // TracesData one after another are one
  const auto begun = Clock::now();
  Delivery delivery = client_->send(std::move(traces));
  const std::chrono::duration<double> took = Clock::now() - begun;
  count([&](DestinationStats& s) {
    ++s.requests;
    s.request_seconds += took.count();
    s.last_error = delivery.verdict == Verdict::kDelivered ? "" : delivery.message;
    if (delivery.verdict != Verdict::kDelivered) ++s.failures;
  });
  return delivery;
}

Exporter::Worker::Outcome
Exporter::Worker::deliver(const store::ExportPage& page, store::ExportProgress& progress) {
  uint64_t spans = 0;
  for (const store::ExportBatch& batch : page.batches) spans += static_cast<uint64_t>(batch.spans);
  const bool alone = page.batches.size() == 1;
  auto backoff = kBackoffFirst;
  int exhausted = 0;
  bool told = false;
  while (true) {
    const Delivery delivery = send(page);
    if (delivery.verdict == Verdict::kDelivered) {
      progress.rejected_spans = std::min(delivery.rejected_spans, spans);
      progress.sent_spans = spans - progress.rejected_spans;
    } else if (
        delivery.verdict == Verdict::kReject ||
        (delivery.verdict == Verdict::kRetryOrSplit &&
         (!alone || ++exhausted >= kExhaustedAttemptsMax))) {
      if (!alone) return Outcome::kSplit;
      base::log::warn("{} rejects {} spans: {}", name_, spans, delivery.message);
      progress.rejected_spans = spans;
    } else {
      // Said once for each page: the counters tell how long it lasts.
      if (!std::exchange(told, true) && !pause_.stopping())
        base::log::warn("export to {} is tried again: {}", name_, delivery.message);
      if (!pause_.wait(with_jitter(delivery.retry_after.value_or(backoff)))) return Outcome::kStop;
      if (!right_->held()) return Outcome::kStop;
      backoff = std::min(backoff * 2, kBackoffLast);
      continue;
    }
    count([&](DestinationStats& s) {
      s.sent_spans += progress.sent_spans;
      s.rejected_spans += progress.rejected_spans;
    });
    return Outcome::kDone;
  }
}

// Any replica, every few seconds: what everybody has goes, and what nobody fetches is bounded.
class Exporter::Housekeeper {
 public:
  Housekeeper(store::Pool& pool, int64_t waiting_bytes_max)
      : pool_(pool), waiting_bytes_max_(waiting_bytes_max), thread_([this] { run(); }) {}
  ~Housekeeper() { stop(); }
  void stop() {
    pause_.stop();
    if (thread_.joinable()) thread_.join();
  }
  uint64_t dropped_spans() const { return dropped_spans_; }

 private:
  void run() {
    while (pause_.wait(std::chrono::duration_cast<std::chrono::milliseconds>(kHousekeeping))) {
      const auto dropped = pool_.transaction(
          [&](Transaction& tx) { return store::clean_exports(tx, waiting_bytes_max_); });
      if (!dropped) {
        base::log::debug("export: {}", dropped.error().message);
        continue;
      }
      if (dropped->now != 0)
        base::log::warn(
            "export: {} spans dropped, a destination is away for too long", dropped->now);
      dropped_spans_ = dropped->ever;
    }
  }

  store::Pool& pool_;
  const int64_t waiting_bytes_max_;
  Pause pause_;
  std::atomic<uint64_t> dropped_spans_ = 0;
  std::jthread thread_; // last: it uses the rest
};

Exporter::Exporter() = default;
Exporter::~Exporter() { stop(); }

base::Result<std::unique_ptr<Exporter>>
Exporter::start(store::Pool& pool, std::vector<Destination> destinations, Options options) {
  if (destinations.size() > kDestinationsMax)
    return base::invalid_argument("TOO_MANY_DESTINATIONS", "at most 32 OTLP destinations");
  std::vector<std::unique_ptr<Client>> clients;
  for (const Destination& destination : destinations)
    clients.push_back(TRY(Client::make(destination)));
  std::unique_ptr<Exporter> exporter(new Exporter());
  for (size_t i = 0; i < destinations.size(); ++i)
    exporter->workers_.push_back(
        std::make_unique<Worker>(pool, destinations[i].name, std::move(clients[i])));
  exporter->housekeeper_ = std::make_unique<Housekeeper>(pool, options.waiting_bytes_max);
  return exporter;
}

void Exporter::wake() {
  for (const auto& worker : workers_) worker->wake();
}
void Exporter::stop() {
  for (const auto& worker : workers_) worker->stop();
  if (housekeeper_) housekeeper_->stop();
}
std::vector<DestinationStats> Exporter::stats() const {
  std::vector<DestinationStats> stats;
  for (const auto& worker : workers_) stats.push_back(worker->stats());
  return stats;
}
uint64_t Exporter::dropped_spans() const { return housekeeper_->dropped_spans(); }

} // namespace controlplane::exporter
