#include "controlplane/store/change_feed.h"

#include "base/check.h"
#include "base/fd.h"
#include "base/log.h"
#include "controlplane/store/connection.h"
#include "controlplane/store/limits.h"
#include "controlplane/store/notifier.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <thread>
#include <utility>

namespace controlplane::store {

class ChangeFeed::Reader {
 public:
  Reader(ChangeFeedOptions options, const base::Clock& clock)
      : options_(std::move(options)), clock_(clock), stop_event_(eventfd(0, EFD_CLOEXEC)) {}

  ~Reader() { stop(); }

  void subscribe(Listener listener) {
    CHECK(!thread_.joinable());
    listeners_.push_back(std::move(listener));
  }

  void start() {
    thread_ = std::jthread([this] { run(); });
  }

  void stop() {
    uint64_t one = 1;
    CHECK(write(stop_event_.get(), &one, sizeof one) == sizeof one);
    if (thread_.joinable()) thread_.join();
  }

  std::optional<base::Nanoseconds> view_time() const {
    int64_t time = view_time_;
    if (time == 0) return std::nullopt;
    return base::Nanoseconds(time);
  }

 private:
  enum class Wait { kGoOn, kStop };

  void run() {
    while (true) {
      auto ended = read_until_stopped();
      if (ended.ok()) return;
      if (!complained_) base::log::warn("change feed: {}; trying again", ended.error().message);
      complained_ = true;
      if (wait_for(-1, kFeedReconnectPause) == Wait::kStop) return;
    }
  }

  // An error when there is no connection, or no longer.
  Result<> read_until_stopped() {
    auto connection =
        TRY(connect({options_.database_url, options_.application_name, kFeedStatementTimeout}));
    try {
      read_all(connection->pq);
      return {};
    } catch (...) {
      return failure_of_exception().error;
    }
  }

  void read_all(pqxx::connection& pq) {
    // Before the first read: what is committed in between is either read or notified.
    pqxx::nontransaction(pq).exec(std::string("listen ") + kChangeChannel);
    snapshot_.clear();
    auto pruned = clock_.boot_time();
    while (true) {
      const auto began = clock_.boot_time();
      hand_out(read(pq));
      view_time_ = began.count();
      complained_ = false;
      if (began - pruned > kChangePruneInterval) {
        prune(pq);
        pruned = began;
      }
      if (wait_for(pq.sock(), options_.poll_interval) == Wait::kStop) return;
      pq.get_notifs();
      // A host that slept may have slept longer than changes are kept.
      if (clock_.boot_time() - began > kChangesKept / 2) snapshot_.clear();
    }
  }

  Batch read(pqxx::connection& pq) {
    Batch batch;
    pqxx::nontransaction tx(pq);
    if (snapshot_.empty()) {
      snapshot_ = tx.exec1("select pg_current_snapshot()::text")[0].as<std::string>();
      batch.reload = true;
      return batch;
    }
    // One statement, so that the rows and the snapshot they are read with belong together.
    auto rows = tx.exec_params(
        "select now.snapshot, c.kind, c.key "
        "from (select pg_current_snapshot()::text as snapshot) now "
        "left join changes c on c.xid >= pg_snapshot_xmin($1::pg_snapshot) "
        "  and not pg_visible_in_snapshot(c.xid, $1::pg_snapshot) "
        "order by c.xid",
        snapshot_);
    std::set<std::pair<std::string, std::string>> seen;
    for (const auto& row : rows) {
      if (row["kind"].is_null()) continue;
      auto name = row["kind"].as<std::string>(), key = row["key"].as<std::string>();
      // A kind that a newer replica made is nothing to us.
      if (auto kind = change_kind_named(name); kind && seen.emplace(name, key).second)
        batch.changes.push_back({*kind, key});
    }
    snapshot_ = rows[0]["snapshot"].as<std::string>();
    return batch;
  }

  void hand_out(const Batch& batch) {
    if (!batch.reload && batch.changes.empty()) return;
    for (const Listener& listener : listeners_) listener(batch);
  }

  void prune(pqxx::connection& pq) {
    pqxx::nontransaction(pq).exec_params(
        "delete from changes where change_time < now() - $1 * interval '1 second'",
        kChangesKept.count());
  }

  Wait wait_for(int socket, std::chrono::milliseconds timeout) {
    pollfd events[] = {{stop_event_.get(), POLLIN, 0}, {socket, POLLIN, 0}};
    const int count = poll(events, socket < 0 ? 1 : 2, static_cast<int>(timeout.count()));
    return count > 0 && events[0].revents != 0 ? Wait::kStop : Wait::kGoOn;
  }

  const ChangeFeedOptions options_;
  const base::Clock& clock_;
  base::Fd stop_event_;
  std::vector<Listener> listeners_;
  std::string snapshot_; // of the last read; empty before the first
  bool complained_ = false;
  std::atomic<int64_t> view_time_ = 0;
  std::jthread thread_;
};

ChangeFeed::ChangeFeed(ChangeFeedOptions options, const base::Clock& clock)
    : reader_(std::make_unique<Reader>(std::move(options), clock)) {}

ChangeFeed::~ChangeFeed() = default;

void ChangeFeed::subscribe(Listener listener) { reader_->subscribe(std::move(listener)); }

void ChangeFeed::start() { reader_->start(); }

void ChangeFeed::stop() { reader_->stop(); }

std::optional<base::Nanoseconds> ChangeFeed::view_time() const { return reader_->view_time(); }

} // namespace controlplane::store
