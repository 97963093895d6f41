#include "controlplane/service/audit.h"

#include "base/log.h"
#include "controlplane/service/limits.h"

namespace controlplane::service {

base::Result<> audit(
    store::Transaction& tx, const model::Caller& caller, std::string_view method,
    std::string resource) {
  store::AuditEvent event;
  event.actor = caller.name;
  event.method = method;
  event.resource = std::move(resource);
  event.allowed = true;
  event.peer = caller.address;
  return store::append_audit_events(tx, {std::move(event)});
}

AuditLog::AuditLog(store::Pool& pool)
    : pool_(pool), waiting_(kAuditEventsWaitingMax), writer_([this] { run(); }) {}

AuditLog::~AuditLog() { waiting_.close(); }

void AuditLog::append(store::AuditEvent event) { waiting_.push(std::move(event)); }

void AuditLog::run() {
  while (auto first = waiting_.pop()) {
    std::vector<store::AuditEvent> batch{std::move(*first)};
    while (batch.size() < kAuditBatchMax && waiting_.size() > 0) {
      if (auto next = waiting_.pop()) batch.push_back(std::move(*next));
    }
    auto written = pool_.transaction(
        [&](store::Transaction& tx) { return store::append_audit_events(tx, batch); });
    if (written) continue;
    lost_ += batch.size();
    base::log::error("{} audit events are lost: {}", batch.size(), written.error().message);
  }
}

} // namespace controlplane::service
