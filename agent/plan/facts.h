// Which facts of a binary the probes need, by name, and how one is looked up.
#pragma once

#include "agent/plan/desired_state.h"
#include "agent/process/binary_info.h"
#include "base/result.h"

#include <memory>
#include <string_view>
#include <vector>

namespace agent::plan {

// Everything that any probe of any supported Go version may ask for; what a binary does not have
// comes back in BinaryInfo::missing and is judged when the plan is made.
process::FactRequest all_facts();

// The facts of one binary, held against the offset tables of the fleet: a table that contradicts
// the binary refuses the fact, and one that an operator wrote fills in for what the binary does not
// tell.
class Facts {
 public:
  // Both must outlive it.
  Facts(const process::BinaryInfo& binary, const DesiredState& desired)
      : binary_(binary), desired_(desired) {}

  // LAYOUT_MISSING or LAYOUT_CONFLICT.
  base::Result<uint16_t> offset(std::string_view field) const;
  // SYMBOL_NOT_FOUND.
  base::Result<const process::Function*> function(std::string_view name) const;
  // LAYOUT_MISSING.
  base::Result<uint64_t> type_address(std::string_view name) const;

 private:
  const process::BinaryInfo& binary_;
  const DesiredState& desired_;
};

// Holds a table against the binaries of this host: ACTIVE when at least one knows a field of it and
// all say the same, REJECTED with LAYOUT_CONFLICT when one says otherwise, SKIPPED when none can
// tell.
sonde::v1::AssignmentStatus check_table(
    const sonde::v1::OffsetTable& table,
    const std::vector<std::shared_ptr<const process::BinaryInfo>>& binaries);

} // namespace agent::plan
