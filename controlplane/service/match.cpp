#include "controlplane/service/match.h"

#include "controlplane/model/validation.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/processes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace controlplane::service {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;
using sonde::v1::Session;

using Chosen = std::vector<const model::AgentView*>;

bool knows(const model::AgentView& agent, const std::string& kind) {
  return std::find(agent.capabilities.begin(), agent.capabilities.end(), kind) !=
         agent.capabilities.end();
}

base::Result<> check_probes(const Session& session, const Chosen& chosen) {
  auto online =
      std::count_if(chosen.begin(), chosen.end(), [](const auto* agent) { return agent->online; });
  if (online == 0) return {}; // those to come may know it
  for (int i = 0; i < session.probes_size(); ++i) {
    auto kind = model::probe_kind(session.probes(i));
    bool known = std::any_of(chosen.begin(), chosen.end(), [&](const auto* agent) {
      return agent->online && knows(*agent, kind);
    });
    if (known) continue;
    auto path = fmt::format("session.probes[{}]", i);
    return base::failed_precondition(
               "PROBE_UNSUPPORTED",
               fmt::format(
                   "{}: none of the {} connected hosts it selects has probe {}", path, online,
                   kind))
        .at(path);
  }
  return {};
}

std::string plural(size_t count, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

void add_state(sonde::v1::SessionSummary& summary, AssignmentStatus::State state, int hosts) {
  if (hosts == 0) return;
  auto* count = summary.add_states();
  count->set_state(state);
  count->set_hosts(hosts);
}

Match summarize(const Chosen& chosen) {
  Match match;
  int online = 0;
  for (const auto* agent : chosen) {
    match.agent_ids.push_back(agent->agent_id);
    online += agent->online ? 1 : 0;
  }
  int hosts = static_cast<int>(chosen.size());
  match.summary.set_hosts(hosts);
  add_state(match.summary, AssignmentStatus::PENDING, online);
  add_state(match.summary, AssignmentStatus::OFFLINE, hosts - online);
  if (hosts == 0) {
    match.sentence = "no host matches the selector";
    return match;
  }
  match.sentence = "matches " + plural(chosen.size(), "host", "hosts");
  if (online < hosts) match.sentence += fmt::format(" ({} offline)", hosts - online);
  return match;
}

base::Result<Chosen> choose(const Session& session, const std::vector<model::AgentView>& agents) {
  Chosen chosen;
  for (const auto& id : model::choose_agents(session.id(), session.selector(), agents)) {
    for (const auto& agent : agents) {
      if (agent.agent_id == id) chosen.push_back(&agent);
    }
  }
  TRY(check_probes(session, chosen));
  return chosen;
}

} // namespace

base::Result<Match> match_hosts(store::Transaction& tx, const Session& session) {
  auto agents = TRY(store::find_agent_views(tx, {}));
  auto chosen = TRY(choose(session, agents));
  return summarize(chosen);
}

base::Result<Match> match_processes(store::Transaction& tx, const Session& session) {
  auto match = TRY(match_hosts(tx, session));
  if (match.agent_ids.empty()) return match;
  auto counts = TRY(store::count_processes(tx, session.selector(), match.agent_ids));
  int processes = 0;
  for (const auto& count : counts) processes += count.processes;
  match.summary.set_processes(processes);
  auto without = match.agent_ids.size() - counts.size();
  if (without > 0) {
    auto* reason = match.summary.add_reasons();
    reason->set_reason(Reason::NO_MATCHING_PROCESS);
    reason->set_hosts(static_cast<int>(without));
  }
  match.sentence += processes == 0
                        ? ", but no process on them"
                        : " and " + plural(static_cast<size_t>(processes), "process", "processes");
  return match;
}

} // namespace controlplane::service
