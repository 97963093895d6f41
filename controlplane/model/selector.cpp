#include "controlplane/model/selector.h"

#include "base/hex.h"
#include "controlplane/model/limits.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace controlplane::model {
namespace {

using base::Result;
using sonde::v1::Selector;

std::string below(std::string_view path, std::string_view field) {
  return fmt::format("{}.{}", path, field);
}

// Spaces alone parse as no requirement at all, and that is every host.
bool is_empty(const Selector& selector) {
  return selector.hosts().find_first_not_of(" \t") == std::string::npos &&
         selector.service().empty() && selector.executable().empty() && selector.pids().empty() &&
         selector.agent_ids().empty();
}

Result<> check_pattern(const std::string& pattern, std::string_view path) {
  if (pattern.size() > kSelectorBytesMax)
    return base::invalid_argument(
               "INVALID_SELECTOR", fmt::format("a pattern has at most {} bytes", kSelectorBytesMax))
        .at(path);
  if (pattern.find('\0') != std::string::npos)
    return base::invalid_argument("INVALID_SELECTOR", "a pattern has no null characters").at(path);
  return {};
}

} // namespace

Labels merge_labels(const Labels& assigned, const Labels& reported, std::string_view hostname) {
  Labels labels = assigned;
  labels.insert(reported.begin(), reported.end());
  labels.emplace("hostname", hostname);
  return labels;
}

bool glob_matches(const std::string& pattern, const std::string& text) {
  return pattern.empty() || fnmatch(pattern.c_str(), text.c_str(), FNM_NOESCAPE) == 0;
}

Result<> check_selector(const Selector& selector, std::string_view path) {
  auto invalid = [&](std::string_view field, std::string message) {
    return base::invalid_argument("INVALID_SELECTOR", std::move(message)).at(below(path, field));
  };
  if (is_empty(selector))
    return base::invalid_argument(
               "EMPTY_SELECTOR",
               "an empty selector would trace everything: say so with hosts \"*\"")
        .at(path);
  auto hosts = LabelSelector::parse(selector.hosts());
  if (!hosts.ok()) return std::move(hosts).error().at(below(path, "hosts"));
  TRY(check_pattern(selector.service(), below(path, "service")));
  TRY(check_pattern(selector.executable(), below(path, "executable")));
  if (selector.max_hosts() < 0) return invalid("maxHosts", "maxHosts is 0 for no limit, or more");
  if (selector.pids_size() > kSelectorPidsMax)
    return invalid("pids", fmt::format("at most {} process ids", kSelectorPidsMax));
  if (std::find(selector.pids().begin(), selector.pids().end(), 0u) != selector.pids().end())
    return invalid("pids", "0 is no process id");
  if (selector.agent_ids_size() > kSelectorAgentsMax)
    return invalid("agentIds", fmt::format("at most {} agents", kSelectorAgentsMax));
  for (const std::string& id : selector.agent_ids())
    if (id.empty()) return invalid("agentIds", "an agent id is empty");
  return {};
}

bool selects_agent(const Selector& selector, const AgentView& agent) {
  const auto& ids = selector.agent_ids();
  if (!ids.empty() && std::find(ids.begin(), ids.end(), agent.agent_id) == ids.end()) return false;
  auto hosts = LabelSelector::parse(selector.hosts());
  return hosts.ok() && hosts->matches(agent.labels);
}

bool selects_process(const Selector& selector, const sonde::v1::Process& process) {
  const auto& pids = selector.pids();
  return glob_matches(selector.service(), process.service()) &&
         glob_matches(selector.executable(), process.executable()) &&
         (pids.empty() || std::find(pids.begin(), pids.end(), process.pid()) != pids.end());
}

std::vector<std::string> choose_agents(
    std::string_view session_id, const Selector& selector, std::span<const AgentView> agents,
    std::span<const std::string> chosen) {
  const std::set<std::string, std::less<>> had(chosen.begin(), chosen.end());
  // before others: has it, is online, has the smaller hash
  std::vector<std::tuple<bool, bool, std::string, std::string>> ranked;
  for (const AgentView& agent : agents) {
    if (!selects_agent(selector, agent)) continue;
    const bool has_it = had.contains(agent.agent_id);
    if (!has_it && !agent.accepts_sessions) continue;
    ranked.emplace_back(
        !has_it, !agent.online, base::sha256(fmt::format("{}/{}", session_id, agent.agent_id)),
        agent.agent_id);
  }
  std::sort(ranked.begin(), ranked.end());
  if (selector.max_hosts() > 0 && ranked.size() > static_cast<size_t>(selector.max_hosts()))
    ranked.resize(static_cast<size_t>(selector.max_hosts()));
  std::vector<std::string> ids;
  for (auto& entry : ranked) ids.push_back(std::move(std::get<3>(entry)));
  return ids;
}

} // namespace controlplane::model
