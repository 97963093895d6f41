// Connections to PostgreSQL: bounded, checked, and lent for one transaction at a time.
//
//   Result<Session> session = pool.transaction([&](Transaction& tx) -> Result<Session> {
//     auto rows = TRY(tx.exec("select … where id = $1", id));
//     …
//   });
#pragma once

#include "base/result.h"
#include "controlplane/store/limits.h"
#include "controlplane/store/transaction.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

namespace controlplane::store {

struct PoolOptions {
  // A libpq connection string or URL. It may hold a password: never log it.
  std::string database_url;
  std::string application_name = "sonded";
  size_t connections_max = kPoolConnectionsMax;
  std::chrono::milliseconds acquire_timeout = kPoolAcquireTimeout;
  std::chrono::milliseconds statement_timeout = kStatementTimeout;
};

enum class Isolation { kReadCommitted, kRepeatableRead, kSerializable };

struct PoolStats {
  size_t connections = 0; // open, lent or resting
  size_t lent = 0;
  uint64_t acquire_timeouts = 0;
  uint64_t connections_lost = 0;
  uint64_t retries =
      0; // of transactions, after a conflict or on a connection that had died at rest
};

class Notifier;

// Thread-safe.
class Pool {
 public:
  // Opens one connection, so that a wrong address is known at once (STORE_UNAVAILABLE).
  static Result<std::unique_ptr<Pool>> make(PoolOptions options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Runs `body(Transaction&) -> Result<T>` and commits when it returns a value, rolls back when it
  // returns an error. After a conflict, and when a resting connection turns out dead, body runs
  // again: it must have no effect outside its transaction. STORE_BUSY when no connection comes free
  // in time. STORE_COMMIT_UNKNOWN when the connection broke during commit.
  template <class Body>
  std::invoke_result_t<Body&, Transaction&>
  transaction(Body&& body, Isolation isolation = Isolation::kReadCommitted) {
    for (int attempt = 1;; ++attempt) {
      Lease lease(*this);
      TRY(lease.open(isolation));
      auto result = body(lease.transaction());
      Verdict verdict = lease.close(result.ok(), attempt);
      if (verdict.again) continue;
      if (result.ok() && verdict.error) return *std::move(verdict.error);
      return result;
    }
  }

  // One round trip; for readiness.
  Result<void> ping();
  PoolStats stats() const;
  const PoolOptions& options() const { return options_; }

 private:
  struct Verdict {
    bool again = false;
    std::optional<base::Error> error; // of the commit
  };
  // A connection and the transaction on it, returned to the pool at the end of the scope.
  class Lease {
   public:
    explicit Lease(Pool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Result<void> open(Isolation isolation);
    Transaction& transaction() { return *transaction_; }
    Verdict close(bool keep, int attempt);

   private:
    Pool& pool_;
    std::unique_ptr<Connection> connection_;
    std::unique_ptr<Transaction> transaction_;
    bool reusable_ = false;
  };

  explicit Pool(PoolOptions options);
  Result<std::unique_ptr<Connection>> acquire();
  void give_back(std::unique_ptr<Connection> connection, bool reusable);
  // Where one resting connection died, the server was restarted and all did.
  void forget_resting();

  const PoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> resting_;
  PoolStats stats_;
  std::unique_ptr<Notifier> notifier_;
};

} // namespace controlplane::store
