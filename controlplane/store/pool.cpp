#include "controlplane/store/pool.h"

#include "base/hex.h"
#include "controlplane/store/connection.h"
#include "controlplane/store/notifier.h"

#include <fmt/format.h>

#include <thread>

namespace controlplane::store {
namespace {

ConnectionOptions connection_options(const PoolOptions& options) {
  return {options.database_url, options.application_name, options.statement_timeout};
}

std::unique_ptr<pqxx::transaction_base> begin(Connection& connection, Isolation isolation) {
  switch (isolation) {
  case Isolation::kReadCommitted:
    return std::make_unique<pqxx::work>(connection.pq);
  case Isolation::kRepeatableRead:
    return std::make_unique<pqxx::transaction<pqxx::repeatable_read>>(connection.pq);
  case Isolation::kSerializable:
    return std::make_unique<pqxx::transaction<pqxx::serializable>>(connection.pq);
  }
  __builtin_unreachable();
}

bool answers(Connection& connection) {
  try {
    pqxx::nontransaction(connection.pq).exec("select 1");
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

// Two transactions that met once must not meet again in step.
void pause_before_retry() {
  std::string random = base::random_bytes(1);
  std::this_thread::sleep_for(kRetryPauseMax * static_cast<unsigned char>(random[0]) / 255);
}

} // namespace

Pool::Pool(PoolOptions options) : options_(std::move(options)) {}

Pool::~Pool() = default;

Result<std::unique_ptr<Pool>> Pool::make(PoolOptions options) {
  std::unique_ptr<Pool> pool(new Pool(std::move(options)));
  pool->give_back(TRY(pool->acquire()), true);
  ConnectionOptions notifier = connection_options(pool->options_);
  notifier.application_name += " notifier";
  pool->notifier_ = std::make_unique<Notifier>(notifier);
  return pool;
}

Result<std::unique_ptr<Connection>> Pool::acquire() {
  std::unique_ptr<Connection> connection;
  {
    std::unique_lock lock(mutex_);
    bool free = returned_.wait_for(
        lock, options_.acquire_timeout, [&] { return stats_.lent < options_.connections_max; });
    if (!free) {
      ++stats_.acquire_timeouts;
      return base::unavailable(
          "STORE_BUSY", fmt::format(
                            "all {} connections to PostgreSQL were in use for {} ms; try again",
                            options_.connections_max, options_.acquire_timeout.count()));
    }
    ++stats_.lent;
    if (!resting_.empty()) {
      connection = std::move(resting_.back());
      resting_.pop_back();
    } else {
      ++stats_.connections;
    }
  }
  if (connection) {
    auto rested = std::chrono::steady_clock::now() - connection->rested_since;
    if (rested < kHealthCheckAfter || answers(*connection)) return connection;
    std::lock_guard lock(mutex_);
    ++stats_.connections_lost;
  }
  auto connected = connect(connection_options(options_));
  if (!connected.ok()) give_back(nullptr, false);
  return connected;
}

void Pool::give_back(std::unique_ptr<Connection> connection, bool reusable) {
  if (!reusable) connection.reset();
  {
    std::lock_guard lock(mutex_);
    --stats_.lent;
    if (connection) {
      connection->rested_since = std::chrono::steady_clock::now();
      resting_.push_back(std::move(connection));
    } else {
      --stats_.connections;
    }
  }
  returned_.notify_one();
}

void Pool::forget_resting() {
  std::vector<std::unique_ptr<Connection>> dead;
  std::lock_guard lock(mutex_);
  ++stats_.connections_lost;
  stats_.connections -= resting_.size();
  dead.swap(resting_);
}

Pool::Lease::Lease(Pool& pool) : pool_(pool) {}

Pool::Lease::~Lease() {
  transaction_.reset();
  if (connection_) pool_.give_back(std::move(connection_), reusable_);
}

Result<void> Pool::Lease::open(Isolation isolation) {
  for (int attempt = 1;; ++attempt) {
    connection_ = TRY(pool_.acquire());
    try {
      transaction_ = std::make_unique<Transaction>(*connection_, begin(*connection_, isolation));
      return {};
    } catch (...) {
      Failure failure = failure_of_exception();
      pool_.give_back(std::move(connection_), false);
      if (failure.kind != FailureKind::kLost || attempt == 2) return std::move(failure.error);
      pool_.forget_resting();
    }
  }
}

Pool::Verdict Pool::Lease::close(bool keep, int attempt) {
  using Trouble = Transaction::Trouble;
  Verdict verdict;
  if (keep) {
    auto committed = transaction_->commit();
    if (!committed.ok()) verdict.error = std::move(committed).error();
  }
  bool kept = keep && !verdict.error;
  Trouble trouble = transaction_->trouble_;
  bool never_began = trouble == Trouble::kLost && transaction_->statements_done_ == 0 &&
                     (!verdict.error || verdict.error->reason != "STORE_COMMIT_UNKNOWN");
  bool wake = kept && transaction_->wakes_change_feed_;
  transaction_.reset();
  reusable_ = trouble != Trouble::kLost && connection_->pq.is_open();
  {
    std::lock_guard lock(pool_.mutex_);
    verdict.again =
        (trouble == Trouble::kConflict || never_began) && attempt < kTransactionAttemptsMax;
    if (verdict.again) ++pool_.stats_.retries;
  }
  if (trouble == Trouble::kLost) pool_.forget_resting();
  if (wake && pool_.notifier_) pool_.notifier_->wake();
  if (verdict.again) pause_before_retry();
  return verdict;
}

Result<void> Pool::ping() {
  return transaction([](Transaction& tx) -> Result<void> {
    TRY(tx.exec("select 1"));
    return {};
  });
}

PoolStats Pool::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

} // namespace controlplane::store
