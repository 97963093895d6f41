// Says that something changed, to every replica, as part of the transaction that changes it.
#pragma once

#include "controlplane/store/transaction.h"

namespace controlplane::store {

enum class ChangeKind { kSession, kSamplingRule, kOffsetTable, kAgent };

// `key` is the id of what changed. The readers of the change feed are woken after the commit.
Result<void> record_change(Transaction& tx, ChangeKind kind, std::string_view key);

std::string_view name_of(ChangeKind kind);
// Nothing for a name that this binary does not know.
std::optional<ChangeKind> change_kind_named(std::string_view name);

} // namespace controlplane::store
