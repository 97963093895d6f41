#include "controlplane/ingest/ingest.h"

#include "base/check.h"
#include "base/log.h"
#include "base/seldom.h"
#include "controlplane/ingest/upload.h"
#include "controlplane/store/batches.h"
#include "controlplane/store/exports.h"
#include "controlplane/store/pool.h"
#include "controlplane/store/spans.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace controlplane::ingest {
namespace {

using sonde::v1::UploadResponse;
using Clock = std::chrono::steady_clock;

constexpr std::array<std::string_view, 6> kKinds = {"INTERNAL", "INTERNAL", "SERVER",
                                                    "CLIENT",   "PRODUCER", "CONSUMER"};
constexpr std::array<std::string_view, 3> kStatuses = {"UNSET", "OK", "ERROR"};

// One message on its way through.
struct Item {
  std::string agent_id;
  std::unique_ptr<const std::string> message; // apart, so that views into it survive a move
  Ingest::Done done;
  Upload upload; // views into message
  store::ResultRoute route;
  UploadResponse response;
};

void answer(Item& item, UploadResponse::Outcome outcome, std::string_view reason = {}) {
  item.response.set_batch(item.upload.batch);
  item.response.set_outcome(outcome);
  item.response.set_reason(std::string(reason));
  if (outcome == UploadResponse::RETRY) {
    auto& after = *item.response.mutable_retry_after();
    after.set_nanos(static_cast<int32_t>(std::chrono::nanoseconds(kRetryAfter).count()));
  }
}

// What one transaction writes, as values that live as long as it.
struct Content {
  std::deque<StampedResource> stamped;
  std::vector<store::NewResource> resources;
  std::vector<store::NewSpan> spans;
  std::vector<store::SessionCount> counts;
  std::map<std::string, store::NewExportBatch> exports; // by session
  std::vector<std::pair<const Item*, std::string>> published;
};

void add_spans(
    const Item& item, const ResourceView& view, const StampedResource& resource, Content& content) {
  for (const SpanView& span : view.spans) {
    store::NewSpan row;
    row.session_id = item.upload.session_id;
    row.trace_id = span.trace_id;
    row.span_id = span.span_id;
    // All zeros mean none, as an absent one does.
    if (span.parent_span_id.find_first_not_of('\0') != std::string_view::npos)
      row.parent_span_id = span.parent_span_id;
    row.name = span.name;
    row.kind = kKinds[span.kind];
    row.status = kStatuses[span.status];
    row.service = resource.service;
    row.agent_id = item.agent_id;
    row.hostname = item.route.hostname;
    row.pid = resource.pid;
    row.start_unix_nanos = static_cast<int64_t>(span.start_unix_nanos);
    row.duration_nanos = static_cast<int64_t>(
        span.end_unix_nanos > span.start_unix_nanos ? span.end_unix_nanos - span.start_unix_nanos
                                                    : 0);
    row.resource_sha256 = resource.sha256;
    row.span = span.bytes;
    content.spans.push_back(row);
  }
}

base::Result<> add_item(const Item& item, Content& content) {
  const store::ResultRoute& route = item.route;
  std::string traces;
  for (const ResourceView& view : item.upload.resources) {
    content.stamped.push_back(TRY(stamp(view.resource, item.agent_id, route.hostname)));
    const StampedResource& resource = content.stamped.back();
    if (route.keep) {
      content.resources.push_back({resource.sha256, resource.bytes});
      add_spans(item, view, resource, content);
    }
    if (!route.keep || !route.destinations.empty()) append_traces(view, resource.bytes, traces);
  }
  if (item.upload.spans != 0)
    content.counts.push_back({item.upload.session_id, item.agent_id, "", item.upload.spans});
  for (const auto& [reason, count] : item.upload.losses)
    content.counts.push_back({item.upload.session_id, item.agent_id, reason, count});
  if (!route.destinations.empty() && item.upload.spans != 0) {
    store::NewExportBatch& batch = content.exports[item.upload.session_id];
    batch.session_id = item.upload.session_id;
    batch.destinations = route.destinations;
    batch.spans += static_cast<int64_t>(item.upload.spans);
    batch.traces += traces; // TracesData one after another are one TracesData
  }
  content.published.emplace_back(&item, std::move(traces));
  return {};
}

void log_maintained(const store::Maintained& done) {
  for (const std::string& day : done.days)
    base::log::info("results of {} are past their time and were dropped", day);
  if (done.sessions != 0)
    base::log::info("{} ended sessions are past their time and were deleted", done.sessions);
  if (done.audit_events != 0)
    base::log::info("{} audit events are past their time and were deleted", done.audit_events);
}

} // namespace

class Ingest::Writers {
 public:
  Writers(store::Pool& pool, Listener listener, store::Retention retention)
      : pool_(pool), listener_(std::move(listener)), retention_(retention) {
    threads_.emplace_back([this] { run_maintenance(); });
    for (size_t i = 0; i < kWriters; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Writers() { stop(); }

  void submit(std::string agent_id, std::string message, Done done);
  void stop();
  IngestStats stats() const;

 private:
  using Group = std::vector<Item>;
  struct CachedRoute {
    store::ResultRoute route;
    Clock::time_point found;
  };

  void run();
  void run_maintenance();
  std::optional<Group> take_group();
  bool wait_for_days();
  void store(Group group);
  void turn_away(std::deque<Item> items);
  // Answers every item; an error means that nothing was stored and nothing is answered.
  base::Result<> store_together(std::vector<Item*>& items);
  base::Result<>
  store_transaction(store::Transaction& tx, const std::vector<Item*>& items, Content& content);
  base::Result<store::ResultRoute>
  find_route(store::Transaction& tx, const std::string& session_id, const std::string& agent_id);
  void count(const UploadResponse& response, const Item& item);

  store::Pool& pool_;
  const Listener listener_;
  const store::Retention retention_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable maintenance_;
  std::deque<Item> queue_;
  bool stopping_ = false;
  bool days_ready_ = false; // there are partitions to write to
  IngestStats stats_;
  base::Seldom trouble_;
  std::mutex routes_mutex_;
  std::map<std::pair<std::string, std::string>, CachedRoute> routes_; // by session and agent
  std::vector<std::jthread> threads_;
};

void Ingest::Writers::submit(std::string agent_id, std::string message, Done done) {
  Item item;
  item.agent_id = std::move(agent_id);
  item.message = std::make_unique<const std::string>(std::move(message));
  item.done = std::move(done);
  auto upload = decode_upload(*item.message);
  if (upload) {
    item.upload = std::move(*upload);
    std::lock_guard lock(mutex_);
    const size_t bytes = item.message->size();
    if (!stopping_ && stats_.queue_bytes + bytes <= kQueueBytesMax) {
      stats_.queue_bytes += bytes;
      queue_.push_back(std::move(item));
      arrived_.notify_one();
      return;
    }
    answer(item, UploadResponse::RETRY, stopping_ ? "SHUTTING_DOWN" : "OVERLOADED");
  } else {
    answer(item, UploadResponse::REFUSED, upload.error().reason);
  }
  count(item.response, item);
  item.done(std::move(item.response));
}

void Ingest::Writers::stop() {
  std::deque<Item> waiting;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting.swap(queue_);
    stats_.queue_bytes = 0;
  }
  arrived_.notify_all();
  maintenance_.notify_all();
  turn_away(std::move(waiting));
  threads_.clear();
}

void Ingest::Writers::run() {
  while (auto group = take_group()) store(std::move(*group));
}

// Days come and go: once before anything is written, then every hour; soon again after a failure.
void Ingest::Writers::run_maintenance() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const auto done = pool_.transaction(
        [this](store::Transaction& tx) { return store::maintain_results(tx, retention_); });
    if (!done)
      base::log::warn("days of results are not prepared: {}", done.error().message);
    else
      log_maintained(*done);
    lock.lock();
    if (done) days_ready_ = true;
    arrived_.notify_all();
    const bool soon = !done || done->more;
    maintenance_.wait_for(
        lock, soon ? kMaintenanceRetry : kMaintenanceInterval, [this] { return stopping_; });
  }
}

// Whatever is not stored stays with its agent.
void Ingest::Writers::turn_away(std::deque<Item> items) {
  for (Item& item : items) {
    answer(item, UploadResponse::RETRY, "SHUTTING_DOWN");
    count(item.response, item);
    item.done(std::move(item.response));
  }
}

// All that waits, up to a limit; waits for the first.
std::optional<Ingest::Writers::Group> Ingest::Writers::take_group() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  Group group;
  size_t bytes = 0;
  while (!queue_.empty() && group.size() < kGroupBatchesMax && bytes < kGroupBytesMax) {
    bytes += queue_.front().message->size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  if (group.empty()) return std::nullopt; // stopping
  stats_.queue_bytes -= bytes;
  return group;
}

bool Ingest::Writers::wait_for_days() {
  std::unique_lock lock(mutex_);
  return arrived_.wait_for(lock, kMaintenanceRetry, [this] { return days_ready_; });
}

void Ingest::Writers::store(Group group) {
  std::vector<Item*> items;
  for (Item& item : group) items.push_back(&item);
  base::Result<> stored = wait_for_days()
                              ? store_together(items)
                              : base::unavailable("STORE_UNAVAILABLE", "no day to write to");
  if (!stored && items.size() > 1 && stored.error().code == base::Code::kInvalidArgument) {
    // One bad batch must not hold up the others.
    for (Item* item : items) {
      std::vector<Item*> alone = {item};
      if (auto result = store_together(alone); !result)
        answer(
            *item,
            result.error().code == base::Code::kInvalidArgument ? UploadResponse::REFUSED
                                                                : UploadResponse::RETRY,
            result.error().reason);
    }
  } else if (!stored) {
    const bool refused = stored.error().code == base::Code::kInvalidArgument;
    if (!refused && trouble_.now())
      base::log::warn("results not stored, agents try again: {}", stored.error().message);
    for (Item* item : items)
      answer(
          *item, refused ? UploadResponse::REFUSED : UploadResponse::RETRY, stored.error().reason);
  }
  for (Item* item : items) {
    count(item->response, *item);
    item->done(std::move(item->response));
  }
}

base::Result<> Ingest::Writers::store_together(std::vector<Item*>& items) {
  Content content;
  TRY(pool_.transaction([&](store::Transaction& tx) -> base::Result<> {
    content = Content();
    return store_transaction(tx, items, content);
  }));
  {
    std::lock_guard lock(mutex_);
    ++stats_.transactions;
  }
  for (const auto& [item, traces] : content.published) {
    StoredBatch batch;
    batch.session_id = item->upload.session_id;
    batch.agent_id = item->agent_id;
    batch.hostname = item->route.hostname;
    batch.kept = item->route.keep;
    batch.exported = !item->route.destinations.empty();
    batch.traces = traces;
    listener_(batch);
  }
  return {};
}

base::Result<> Ingest::Writers::store_transaction(
    store::Transaction& tx, const std::vector<Item*>& items, Content& content) {
  std::vector<Item*> assigned;
  std::vector<store::NewBatch> batches;
  for (Item* item : items) {
    item->route = TRY(find_route(tx, item->upload.session_id, item->agent_id));
    if (!item->route.accepted) {
      answer(*item, UploadResponse::REFUSED, "SESSION_NOT_ASSIGNED");
      continue;
    }
    assigned.push_back(item);
    batches.push_back(
        {item->agent_id, item->upload.boot_id, item->upload.batch, item->upload.session_id,
         static_cast<int64_t>(item->upload.spans)});
  }
  if (assigned.empty()) return {};
  const std::vector<bool> fresh = TRY(store::insert_batches(tx, batches));
  for (size_t i = 0; i < assigned.size(); ++i) {
    answer(*assigned[i], fresh[i] ? UploadResponse::ACCEPTED : UploadResponse::DUPLICATE);
    if (fresh[i]) TRY(add_item(*assigned[i], content));
  }
  TRY(store::insert_resources(tx, content.resources));
  TRY(store::copy_spans(tx, content.spans));
  TRY(store::add_session_counts(tx, content.counts));
  for (const auto& [session_id, batch] : content.exports)
    TRY(store::insert_export_batch(tx, batch));
  return {};
}

base::Result<store::ResultRoute> Ingest::Writers::find_route(
    store::Transaction& tx, const std::string& session_id, const std::string& agent_id) {
  const std::pair key(session_id, agent_id);
  const auto now = Clock::now();
  {
    std::lock_guard lock(routes_mutex_);
    const auto known = routes_.find(key);
    if (known != routes_.end() && now - known->second.found < kRouteAge) return known->second.route;
  }
  store::ResultRoute route = TRY(store::find_result_route(tx, session_id, agent_id));
  // A refusal is looked up anew each time: the assignment may be about to be committed.
  if (!route.accepted) return route;
  std::lock_guard lock(routes_mutex_);
  if (routes_.size() >= kRoutesMax) routes_.clear();
  routes_[key] = {route, now};
  return route;
}

void Ingest::Writers::count(const UploadResponse& response, const Item& item) {
  std::lock_guard lock(mutex_);
  switch (response.outcome()) {
  case UploadResponse::ACCEPTED:
    ++stats_.batches_accepted;
    stats_.spans_accepted += item.upload.spans;
    stats_.spans_invalid += item.upload.invalid_spans;
    break;
  case UploadResponse::DUPLICATE:
    ++stats_.batches_duplicate;
    break;
  case UploadResponse::RETRY:
    ++stats_.batches_retried;
    break;
  default:
    ++stats_.batches_refused;
  }
}

IngestStats Ingest::Writers::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

Ingest::Ingest(store::Pool& pool, Listener listener, store::Retention retention)
    : writers_(std::make_unique<Writers>(pool, std::move(listener), retention)) {}
Ingest::~Ingest() = default;

void Ingest::submit(std::string agent_id, std::string message, Done done) {
  writers_->submit(std::move(agent_id), std::move(message), std::move(done));
}
void Ingest::stop() { writers_->stop(); }
IngestStats Ingest::stats() const { return writers_->stats(); }

} // namespace controlplane::ingest
