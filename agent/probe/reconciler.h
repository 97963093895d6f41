// Makes the kernel match what the control plane wants of the processes that are there.
//
// Desired state and observed processes are two values; after every change of either the plans are
// made anew and the difference is applied. Nothing else attaches or detaches anything.
#pragma once

#include "agent/plan/status.h"
#include "agent/probe/kernel.h"
#include "base/clock.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace agent::probe {

// Who gets the exchanges of which process.
using Traced = std::map<uint32_t, std::vector<plan::SessionShare>>; // by pid

// Called from within the reconciler's functions, on its thread.
struct ReconcilerOutputs {
  // Whenever the status of a session changes, from time to time for its usage, and once for each
  // nonce.
  std::function<void(const plan::DesiredSession&, sonde::v1::AssignmentStatus)> status;
  // Before the first event of a change can arrive, or after the last.
  std::function<void(const Traced&)> traced;
};

// Owned by the probe thread.
class Reconciler {
 public:
  // Kernel and clock must outlive it.
  Reconciler(
      Kernel& kernel, const base::Clock& clock, plan::LocalPolicy policy,
      ReconcilerOutputs outputs);
  // Detaches everything.
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  // Replaces everything that is wanted. A session whose lease is over already is not begun.
  void apply(plan::DesiredState desired);
  // Moves the end of a lease; one that had ended is taken up again, since it was granted anew.
  void refresh(const std::map<std::string, base::Nanoseconds>& deadlines);
  // A process of the same pid is replaced by it.
  void process_started(process::GoProcess process);
  void process_ended(uint32_t pid);
  // Every kTick while there are sessions: ends leases and judges budgets.
  void tick();

  bool has_sessions() const { return !desired_.sessions.empty(); }
  // What a session cost so far; spans and losses are counted elsewhere.
  sonde::v1::Usage usage_of(const std::string& session_id) const;
  // Of everything that is loaded.
  KernelUse use() const { return kernel_.use(); }

 private:
  // What the kernel holds for one process.
  struct Applied {
    process::ProcessKey process;
    process_config config{};
    std::vector<plan::FunctionSite> sites;
    Link link;
    std::optional<base::Error> failure; // not tried again before the plan changes
    bool failed_with(const plan::ProbePlan& plan) const {
      return failure && process == plan.process && sites == plan.sites;
    }
  };
  struct SessionRecord {
    std::string reported; // last status without its usage, serialized
    base::Nanoseconds usage_reported_at{0};
    BudgetMeter meter;
    Cost cost; // its part of what the programs cost
    uint64_t traced_processes = 0;
  };
  using Plans = std::map<uint32_t, plan::ProbePlan>;

  void reconcile();
  plan::DesiredState live_sessions() const;
  Plans make_plans(const plan::DesiredState& live) const;
  void detach_unwanted(const Plans& plans);
  void match(plan::ProbePlan& plan);
  base::Result<> match_process(const plan::ProbePlan& plan, Applied& applied);
  void unload();
  void publish_traced(const Plans& plans);
  void publish_statuses(const Plans& plans);
  void publish_status(plan::DesiredSession& session, sonde::v1::AssignmentStatus status);
  sonde::v1::AssignmentStatus
  status_of(const plan::DesiredSession& session, const Plans& plans) const;
  void fill_usage(sonde::v1::AssignmentStatus& status, const SessionRecord& record) const;
  void share_costs();
  bool judge_budgets();
  std::optional<sonde::v1::AssignmentStatus> refused_admission(const std::string& session_id) const;
  size_t sessions_max() const;

  Kernel& kernel_;
  const base::Clock& clock_;
  const plan::LocalPolicy policy_;
  const ReconcilerOutputs outputs_;
  plan::DesiredState desired_;
  std::vector<std::string> admitted_; // sessions in the order in which they came
  std::map<uint32_t, process::GoProcess> processes_;
  std::map<uint32_t, Applied> applied_;
  std::map<std::string, SessionRecord> records_;
  plan::BudgetVerdicts budget_;
  Cost shared_cost_; // of the programs, handed out to sessions so far
};

} // namespace agent::probe
