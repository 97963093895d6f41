#include "agent/probe/reconciler.h"

#include "agent/plan/limits.h"
#include "agent/probe/limits.h"
#include "base/log.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace agent::probe {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

bool same_row(const process_config& a, const process_config& b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

void reject_all(plan::ProbePlan& plan, const base::Error& error) {
  plan.shares.clear();
  for (auto& outcome : plan.outcomes) {
    if (outcome.state == AssignmentStatus::REJECTED) continue;
    outcome.state = AssignmentStatus::REJECTED;
    outcome.reason = plan::reason_code(error.reason);
    outcome.detail = error.message;
  }
}

AssignmentStatus lease_expired() {
  AssignmentStatus status;
  status.set_state(AssignmentStatus::EXPIRED);
  status.set_reason(Reason::LEASE_EXPIRED);
  // Which of the two it is only the control plane knows.
  status.set_detail(
      "nothing is attached any more: the session is over, or nobody renewed its lease");
  return status;
}

} // namespace

Reconciler::Reconciler(
    Kernel& kernel, const base::Clock& clock, plan::LocalPolicy policy, ReconcilerOutputs outputs)
    : kernel_(kernel), clock_(clock), policy_(std::move(policy)), outputs_(std::move(outputs)) {}

Reconciler::~Reconciler() { unload(); }

void Reconciler::apply(plan::DesiredState desired) {
  desired_ = std::move(desired);
  std::erase_if(admitted_, [&](const auto& id) { return !desired_.sessions.contains(id); });
  std::erase_if(
      records_, [&](const auto& entry) { return !desired_.sessions.contains(entry.first); });
  std::erase_if(
      budget_, [&](const auto& entry) { return !desired_.sessions.contains(entry.first); });
  for (const auto& [id, session] : desired_.sessions) {
    const bool known = std::find(admitted_.begin(), admitted_.end(), id) != admitted_.end();
    if (!known && admitted_.size() < sessions_max()) admitted_.push_back(id);
    const auto limits = limits_of(session.spec.budget(), policy_);
    auto [record, is_new] = records_.try_emplace(
        id, SessionRecord{{}, {}, BudgetMeter(limits, clock_.boot_time()), {}, 0});
    record->second.meter.set_limits(limits);
  }
  reconcile();
}

void Reconciler::refresh(const std::map<std::string, base::Nanoseconds>& deadlines) {
  for (const auto& [id, deadline] : deadlines)
    if (auto session = desired_.sessions.find(id); session != desired_.sessions.end())
      session->second.deadline = deadline;
  reconcile();
}

void Reconciler::process_started(process::GoProcess process) {
  const auto pid = process.process.key.pid;
  processes_.insert_or_assign(pid, std::move(process));
  if (has_sessions()) reconcile();
}

void Reconciler::process_ended(uint32_t pid) {
  processes_.erase(pid);
  if (has_sessions()) reconcile();
}

void Reconciler::tick() {
  share_costs();
  const bool verdicts_changed = judge_budgets();
  const auto now = clock_.boot_time();
  const bool expired =
      std::any_of(desired_.sessions.begin(), desired_.sessions.end(), [&](const auto& entry) {
        const auto record = records_.find(entry.first);
        return entry.second.deadline <= now && record != records_.end() &&
               record->second.traced_processes > 0;
      });
  if (verdicts_changed || expired) return reconcile();
  // Nothing to change: only usage that is due.
  publish_statuses(make_plans(live_sessions()));
}

void Reconciler::reconcile() {
  auto plans = make_plans(live_sessions());
  detach_unwanted(plans);
  const bool wanted = std::any_of(
      plans.begin(), plans.end(), [](const auto& entry) { return entry.second.traces(); });
  if (!wanted) {
    unload();
    publish_traced({});
    return publish_statuses(plans);
  }
  publish_traced(plans);
  const bool fresh = !kernel_.loaded();
  auto loaded = kernel_.load();
  // What was counted before is nobody's here: records are counted since the agent started.
  if (fresh) shared_cost_ = kernel_.use().cost;
  if (!loaded) base::log::warn("BPF programs: {}", loaded.error().message);
  for (auto& [pid, plan] : plans) {
    if (!plan.traces()) continue;
    if (loaded)
      match(plan);
    else
      reject_all(plan, loaded.error());
  }
  publish_traced(plans);
  publish_statuses(plans);
}

// Sessions that are admitted and whose lease goes on; rules and tables as they are.
plan::DesiredState Reconciler::live_sessions() const {
  auto live = desired_;
  const auto now = clock_.boot_time();
  std::erase_if(live.sessions, [&](const auto& entry) {
    return entry.second.deadline <= now || refused_admission(entry.first).has_value();
  });
  return live;
}

Reconciler::Plans Reconciler::make_plans(const plan::DesiredState& live) const {
  Plans plans;
  if (live.sessions.empty()) return plans;
  for (const auto& [pid, process] : processes_) {
    auto plan = plan::make_plan(process, live, policy_, budget_);
    if (auto applied = applied_.find(pid); applied != applied_.end() && plan.traces())
      if (applied->second.failed_with(plan)) reject_all(plan, *applied->second.failure);
    if (!plan.outcomes.empty()) plans.emplace(pid, std::move(plan));
  }
  return plans;
}

void Reconciler::detach_unwanted(const Plans& plans) {
  std::vector<Link> links;
  for (auto it = applied_.begin(); it != applied_.end();) {
    auto& [pid, applied] = *it;
    const auto plan = plans.find(pid);
    const bool same_process = plan != plans.end() && plan->second.process == applied.process;
    if (same_process && (plan->second.traces() || applied.failure)) {
      ++it;
      continue;
    }
    kernel_.forget_process(pid);
    links.push_back(std::move(applied.link));
    it = applied_.erase(it);
  }
  if (applied_.empty() && kernel_.loaded()) return kernel_.unload(std::move(links));
  close_all(std::move(links));
}

void Reconciler::match(plan::ProbePlan& plan) {
  auto& applied = applied_[plan.process.pid];
  applied.process = plan.process;
  auto matched = match_process(plan, applied);
  if (matched) return;
  // Of one that ended in this moment we hear next: builds and scripts start many that are so short.
  const bool is_gone = matched.error().code == base::Code::kNotFound;
  if (!is_gone) base::log::warn("pid {}: {}", plan.process.pid, matched.error().message);
  kernel_.forget_process(plan.process.pid);
  close_all([&] {
    std::vector<Link> links;
    links.push_back(std::exchange(applied.link, Link()));
    return links;
  }());
  applied.sites = plan.sites;
  applied.failure = matched.error();
  reject_all(plan, matched.error());
}

base::Result<> Reconciler::match_process(const plan::ProbePlan& plan, Applied& applied) {
  const bool sites_changed = applied.sites != plan.sites || applied.link.size() == 0;
  if (sites_changed) TRY(kernel_.verify(processes_.at(plan.process.pid), plan));
  if (sites_changed || !same_row(applied.config, plan.config))
    TRY(kernel_.set_process(plan.process.pid, plan.config));
  applied.config = plan.config;
  if (!sites_changed) return {};
  auto link = TRY(kernel_.attach(plan.process.pid, plan.sites));
  std::vector<Link> replaced;
  replaced.push_back(std::exchange(applied.link, std::move(link)));
  applied.sites = plan.sites;
  applied.failure.reset();
  close_all(std::move(replaced));
  return {};
}

void Reconciler::unload() {
  std::vector<Link> links;
  for (auto& [pid, applied] : applied_) {
    if (!applied.failure) kernel_.forget_process(pid);
    links.push_back(std::move(applied.link));
  }
  // A failure is remembered as long as a session wants its process.
  std::erase_if(applied_, [](const auto& entry) { return !entry.second.failure; });
  if (kernel_.loaded()) kernel_.unload(std::move(links));
}

void Reconciler::publish_traced(const Plans& plans) {
  Traced traced;
  std::map<std::string, uint64_t> processes;
  for (const auto& [pid, plan] : plans) {
    if (!plan.traces()) continue;
    traced.emplace(pid, plan.shares);
    for (const auto& share : plan.shares) ++processes[share.session_id];
  }
  for (auto& [id, record] : records_) record.traced_processes = processes[id];
  if (outputs_.traced) outputs_.traced(traced);
}

void Reconciler::publish_statuses(const Plans& plans) {
  for (auto& [id, session] : desired_.sessions) publish_status(session, status_of(session, plans));
}

AssignmentStatus
Reconciler::status_of(const plan::DesiredSession& session, const Plans& plans) const {
  const auto& id = session.spec.session_id();
  if (auto refused = refused_admission(id)) return *refused;
  if (session.deadline <= clock_.boot_time()) return lease_expired();
  std::vector<plan::ProcessOutcome> outcomes;
  for (const auto& [pid, plan] : plans)
    for (const auto& outcome : plan.outcomes)
      if (outcome.session_id == id) outcomes.push_back({pid, plan.executable, outcome});
  return plan::session_status(outcomes);
}

void Reconciler::publish_status(plan::DesiredSession& session, AssignmentStatus status) {
  auto& record = records_.at(session.spec.session_id());
  const auto now = clock_.boot_time();
  auto without_usage = status.SerializeAsString();
  const bool changed = without_usage != record.reported || session.nonce != 0;
  const bool usage_due =
      record.traced_processes > 0 && now - record.usage_reported_at >= kUsageInterval;
  if (!changed && !usage_due) return;
  record.reported = std::move(without_usage);
  record.usage_reported_at = now;
  fill_usage(status, record);
  if (outputs_.status) outputs_.status(session, std::move(status));
  session.nonce = 0;
}

void Reconciler::fill_usage(AssignmentStatus& status, const SessionRecord& record) const {
  auto& usage = *status.mutable_usage();
  usage.set_bpf_cpu_seconds(std::chrono::duration<double>(record.cost.cpu).count());
  usage.set_events(record.cost.events);
  if (record.traced_processes == 0) return;
  usage.set_bpf_map_bytes(kernel_.use().map_bytes);
}

sonde::v1::Usage Reconciler::usage_of(const std::string& session_id) const {
  AssignmentStatus status;
  if (auto record = records_.find(session_id); record != records_.end())
    fill_usage(status, record->second);
  return status.usage();
}

// The programs count for all sessions together; each is charged by the processes it traces.
void Reconciler::share_costs() {
  if (!kernel_.loaded()) return;
  const auto total = kernel_.use().cost;
  const auto cpu = total.cpu - shared_cost_.cpu;
  const auto events = total.events - shared_cost_.events;
  shared_cost_ = total;
  uint64_t weights = 0;
  for (const auto& [id, record] : records_) weights += record.traced_processes;
  if (weights == 0) return;
  for (auto& [id, record] : records_) {
    record.cost.cpu +=
        cpu * static_cast<int64_t>(record.traced_processes) / static_cast<int64_t>(weights);
    record.cost.events += events * record.traced_processes / weights;
  }
}

bool Reconciler::judge_budgets() {
  bool changed = false;
  for (auto& [id, record] : records_) {
    if (!record.meter.measure(record.cost, clock_.boot_time())) continue;
    changed = true;
    budget_[id] = record.meter.verdict();
    base::log::info("session {}: share {:.3f} {}", id, budget_[id].share, budget_[id].detail);
  }
  return changed;
}

size_t Reconciler::sessions_max() const {
  return std::min(plan::kSessionsMax, policy_.sessions_max.value_or(plan::kSessionsMax));
}

std::optional<AssignmentStatus> Reconciler::refused_admission(const std::string& session_id) const {
  if (std::find(admitted_.begin(), admitted_.end(), session_id) != admitted_.end())
    return std::nullopt;
  AssignmentStatus status;
  status.set_state(AssignmentStatus::REJECTED);
  const bool by_policy = policy_.sessions_max && *policy_.sessions_max <= plan::kSessionsMax;
  status.set_reason(by_policy ? Reason::LOCAL_POLICY_DENIED : Reason::PROBE_LIMIT);
  status.set_detail("this host takes " + std::to_string(sessions_max()) + " sessions at a time");
  return status;
}

} // namespace agent::probe
