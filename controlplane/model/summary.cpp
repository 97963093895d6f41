#include "controlplane/model/summary.h"

#include <map>
#include <set>
#include <string>

namespace controlplane::model {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

sonde::v1::SessionSummary roll_up(std::span<const StatusCount> counts) {
  sonde::v1::SessionSummary summary;
  std::map<AssignmentStatus::State, int> states;
  std::map<Reason::Code, int> reasons;
  for (const StatusCount& count : counts) {
    summary.set_hosts(summary.hosts() + count.hosts);
    summary.set_processes(summary.processes() + count.processes);
    states[count.state] += count.hosts;
    if (count.reason != Reason::CODE_UNSPECIFIED) reasons[count.reason] += count.hosts;
  }
  for (auto [state, hosts] : states) {
    auto* entry = summary.add_states();
    entry->set_state(state);
    entry->set_hosts(hosts);
  }
  for (auto [reason, hosts] : reasons) {
    auto* entry = summary.add_reasons();
    entry->set_reason(reason);
    entry->set_hosts(hosts);
  }
  return summary;
}

void add_usage(sonde::v1::Usage& sum, const sonde::v1::Usage& usage) {
  sum.set_bpf_cpu_seconds(sum.bpf_cpu_seconds() + usage.bpf_cpu_seconds());
  sum.set_bpf_map_bytes(sum.bpf_map_bytes() + usage.bpf_map_bytes());
  sum.set_events(sum.events() + usage.events());
  sum.set_spans(sum.spans() + usage.spans());
  std::map<std::string, uint64_t> losses;
  for (const auto& loss : sum.losses()) losses[loss.reason()] += loss.count();
  for (const auto& loss : usage.losses()) losses[loss.reason()] += loss.count();
  sum.clear_losses();
  for (const auto& [reason, count] : losses) {
    auto* loss = sum.add_losses();
    loss->set_reason(reason);
    loss->set_count(count);
  }
}

void raise_losses(sonde::v1::Usage& usage, std::map<std::string, uint64_t> losses) {
  for (const auto& loss : usage.losses())
    losses[loss.reason()] = std::max(losses[loss.reason()], loss.count());
  usage.clear_losses();
  for (const auto& [reason, count] : losses) {
    auto* loss = usage.add_losses();
    loss->set_reason(reason);
    loss->set_count(count);
  }
}

int active_processes(const AssignmentStatus& status) {
  std::set<uint32_t> pids;
  for (const auto& probe : status.probes())
    if (probe.state() == AssignmentStatus::ACTIVE) pids.insert(probe.pid());
  return static_cast<int>(pids.size());
}

} // namespace controlplane::model
