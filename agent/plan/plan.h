// Sessions and the facts of a binary become what the kernel should hold for one process. Pure.
#pragma once

#include "agent/plan/desired_state.h"
#include "agent/plan/local_policy.h"
#include "agent/plan/sampling.h"
#include "agent/process/process.h"
#include "bpf/include/config.h"
#include "sonde/v1/status.pb.h"

#include <map>
#include <string>
#include <vector>

namespace agent::plan {

// The programs that are attached inside functions of a binary.
enum class FunctionProgram : uint8_t { kPanic, kRoundTrip, kRoundTripError, kDial, kDialError };

// One uprobe of a process.
struct FunctionSite {
  FunctionProgram program = FunctionProgram::kPanic;
  std::string symbol;
  uint64_t function_offset = 0;  // of the entry, in the file
  uint64_t site_offset = 0;      // of the instruction, in the file
  uint64_t cookie = 0;           // enum site_cookie
  std::vector<uint8_t> prologue; // what must stand at function_offset when it is attached
  bool operator==(const FunctionSite&) const = default;
};

// What one session gets of one process.
struct SessionShare {
  std::string session_id;
  Sampling sampling;
  bool server = false;
  bool client = false;
};

// What became of one probe of a session in one process.
struct ProbeOutcome {
  std::string session_id;
  uint32_t probe_index = 0;
  sonde::v1::AssignmentStatus::State state = sonde::v1::AssignmentStatus::STATE_UNSPECIFIED;
  sonde::v1::Reason::Code reason = sonde::v1::Reason::CODE_UNSPECIFIED;
  std::string detail;
};

// Everything about one process that at least one session selects. Nothing is attached when `shares`
// is empty.
struct ProbePlan {
  process::ProcessKey process;
  std::string executable;
  process_config config{};
  std::vector<FunctionSite> sites;
  std::vector<SessionShare> shares;
  std::vector<ProbeOutcome> outcomes;

  bool traces() const { return !shares.empty(); }
};

// The words of a selector for a process.
Subject subject_of(const process::Process& process);

// What its budget leaves to a session: a share of 1 keeps what it asked for, less samples down, 0
// detaches it.
struct BudgetVerdict {
  double share = 1;
  sonde::v1::Reason::Code reason = sonde::v1::Reason::CODE_UNSPECIFIED; // when share is below 1
  std::string detail;
  bool operator==(const BudgetVerdict&) const = default;
};
using BudgetVerdicts = std::map<std::string, BudgetVerdict>; // by session id

// The plan of one process under all sessions that select it. Refusals are outcomes, not errors.
ProbePlan make_plan(
    const process::GoProcess& process, const DesiredState& desired, const LocalPolicy& policy,
    const BudgetVerdicts& budget);

// Reason of the contract for a reason of ours; INTERNAL for one that the contract does not name.
sonde::v1::Reason::Code reason_code(std::string_view reason);

} // namespace agent::plan
