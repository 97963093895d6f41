#include "agent/app/table_checks.h"

#include "agent/plan/facts.h"
#include "base/log.h"

namespace agent::app {

using sonde::v1::AssignmentKey;
using sonde::v1::AssignmentStatus;

void TableChecks::forget(const sonde::v1::Delta& delta) {
  for (const auto& assignment : delta.assignments())
    if (assignment.has_offset_table()) told_.erase(assignment.key().name());
}

void TableChecks::run(
    const Assignments& assignments,
    const std::vector<std::shared_ptr<const process::BinaryInfo>>& binaries, sonde::v1::Ack& ack) {
  const auto& tables = assignments.desired().offset_tables;
  std::erase_if(told_, [&](const auto& entry) { return !tables.contains(entry.first); });
  for (const auto& [name, table] : tables) {
    auto status = plan::check_table(table, binaries);
    const auto told = told_.find(name);
    const bool is_new = told == told_.end() || (status.state() != AssignmentStatus::SKIPPED &&
                                                status.state() != told->second.state());
    if (!is_new) continue;
    if (status.state() == AssignmentStatus::REJECTED)
      base::log::warn("offset table {} is wrong: {}", name, status.detail());
    AssignmentKey key;
    key.set_type(AssignmentKey::OFFSET_TABLE);
    key.set_name(name);
    told_[name] = status;
    add_status(ack, key, assignments.version_of(key), std::move(status));
  }
}

} // namespace agent::app
