// What the programs of this host say of the fleet's offset tables, told once and when it changes.
#pragma once

#include "agent/app/assignments.h"
#include "agent/process/binary_info.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace agent::app {

class TableChecks {
 public:
  // The tables that a delta brings are to be answered again.
  void forget(const sonde::v1::Delta& delta);
  // Adds a line for each table whose answer is new. A table that was held against a program keeps
  // its answer when that program ends.
  void
  run(const Assignments& assignments,
      const std::vector<std::shared_ptr<const process::BinaryInfo>>& binaries, sonde::v1::Ack& ack);

 private:
  std::map<std::string, sonde::v1::AssignmentStatus> told_; // by the table's name
};

} // namespace agent::app
