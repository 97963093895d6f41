#include "controlplane/store/audit_events.h"

namespace controlplane::store {

Result<> append_audit_events(Transaction& tx, const std::vector<AuditEvent>& events) {
  if (events.empty()) return {};
  std::vector<Parameter> actors, methods, resources, decisions, codes, reasons, peers;
  for (const AuditEvent& event : events) {
    actors.emplace_back(event.actor);
    methods.emplace_back(event.method);
    resources.emplace_back(event.resource);
    decisions.emplace_back(event.allowed ? "ALLOWED" : "DENIED");
    codes.emplace_back(static_cast<int>(event.code));
    reasons.emplace_back(event.reason);
    peers.emplace_back(event.peer);
  }
  TRY(tx.exec(
      "insert into audit_events (actor, method, resource, decision, code, reason, peer) "
      "select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[],"
      "  $7::text[])",
      actors, methods, resources, decisions, codes, reasons, peers));
  return {};
}

} // namespace controlplane::store
