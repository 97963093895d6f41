// Which hosts and processes a selector means.
#pragma once

#include "base/result.h"
#include "controlplane/model/label_selector.h"
#include "sonde/v1/agent.pb.h"
#include "sonde/v1/selector.pb.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::model {

// What is known of an agent when work is given out.
struct AgentView {
  std::string agent_id;
  std::string hostname;
  std::string architecture;
  Labels labels; // assigned ones before reported ones of the same name (merge_labels)
  std::vector<std::string> capabilities;
  bool online = false;
  bool accepts_sessions = true; // false when draining, evicted or banned
};

// Assigned labels win; "hostname" is a label of every host that has no other of that name.
Labels merge_labels(const Labels& assigned, const Labels& reported, std::string_view hostname);

// A name or path with * ? [] wildcards, where * crosses slashes; an empty pattern matches
// everything. The agent matches in the same way.
bool glob_matches(const std::string& pattern, const std::string& text);

// EMPTY_SELECTOR, INVALID_LABEL_SELECTOR, INVALID_SELECTOR, with the field below `path`
// ("session.selector").
base::Result<> check_selector(const sonde::v1::Selector& selector, std::string_view path);

// hosts and agent_ids; a selector that does not parse selects nothing.
bool selects_agent(const sonde::v1::Selector& selector, const AgentView& agent);
// service, executable and pids.
bool selects_process(const sonde::v1::Selector& selector, const sonde::v1::Process& process);

// The agents a session goes to, by id: all that it selects and that accept sessions, at most
// max_hosts. `chosen` have it already and stay; the rest of the room goes to those online first,
// then in an order that is random but the same everywhere (a hash of session and agent), so that
// replicas choose alike.
std::vector<std::string> choose_agents(
    std::string_view session_id, const sonde::v1::Selector& selector,
    std::span<const AgentView> agents, std::span<const std::string> chosen = {});

} // namespace controlplane::model
