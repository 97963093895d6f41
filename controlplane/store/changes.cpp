#include "controlplane/store/changes.h"

namespace controlplane::store {

std::string_view name_of(ChangeKind kind) {
  switch (kind) {
  case ChangeKind::kSession:
    return "session";
  case ChangeKind::kSamplingRule:
    return "sampling_rule";
  case ChangeKind::kOffsetTable:
    return "offset_table";
  case ChangeKind::kAgent:
    return "agent";
  }
  __builtin_unreachable();
}

std::optional<ChangeKind> change_kind_named(std::string_view name) {
  for (ChangeKind kind :
       {ChangeKind::kSession, ChangeKind::kSamplingRule, ChangeKind::kOffsetTable,
        ChangeKind::kAgent})
    if (name_of(kind) == name) return kind;
  return std::nullopt;
}

Result<void> record_change(Transaction& tx, ChangeKind kind, std::string_view key) {
  TRY(tx.exec("insert into changes (kind, key) values ($1, $2)", name_of(kind), key));
  tx.wake_change_feed();
  return {};
}

} // namespace controlplane::store
