// Every decision, allowed or denied. Append-only.
#pragma once

#include "controlplane/store/transaction.h"

#include <string>
#include <vector>

namespace controlplane::store {

struct AuditEvent {
  std::string actor;    // name of the caller, or "anonymous"
  std::string method;   // "SessionService/CreateSession"
  std::string resource; // "sessions/…"; empty when there is no single thing
  bool allowed = false;
  base::Code code = base::Code::kOk; // of the answer
  std::string reason;
  std::string peer; // address
};

// In the transaction of what it is about, or, for what was denied, in batches. The time is that of
// the insert.
Result<> append_audit_events(Transaction& tx, const std::vector<AuditEvent>& events);

} // namespace controlplane::store
