// The audit log: what was done is written with it, in its transaction; what was refused, soon
// after.
#pragma once

#include "base/queue.h"
#include "controlplane/model/caller.h"
#include "controlplane/store/audit_events.h"
#include "controlplane/store/pool.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

namespace controlplane::service {

// An allowed decision, in the transaction of what it allowed. `method` is
// "SessionService/CreateSession", `resource` "sessions/<id>".
base::Result<> audit(
    store::Transaction& tx, const model::Caller& caller, std::string_view method,
    std::string resource);

// Everything else: denied and failed calls, and what has no transaction of its own. Written in
// batches by a thread of its own. Thread-safe.
class AuditLog {
 public:
  explicit AuditLog(store::Pool& pool);
  ~AuditLog(); // writes what waits
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  // Never blocks; when too many wait the event is dropped and counted.
  void append(store::AuditEvent event);
  uint64_t dropped() const { return waiting_.dropped() + lost_; }

 private:
  void run();

  store::Pool& pool_;
  base::Queue<store::AuditEvent> waiting_;
  std::atomic<uint64_t> lost_ = 0; // that the store did not take
  std::jthread writer_;
};

} // namespace controlplane::service
