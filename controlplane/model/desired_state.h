// What an agent should hold, from what the store holds: pure.
#pragma once

#include "controlplane/model/selector.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <span>
#include <string>
#include <vector>

namespace controlplane::model {

// SHA-256 of the deterministic serialization, hexadecimal.
std::string content_version(const google::protobuf::Message& body);

// Each with key, version and body. The body of a session has of its selector only what chooses
// processes.
sonde::v1::Assignment assignment_of(const sonde::v1::Session& session);
sonde::v1::Assignment assignment_of(const sonde::v1::SamplingRule& rule);
sonde::v1::Assignment assignment_of(const sonde::v1::OffsetTable& table);
sonde::v1::Assignment assignment_of(const sonde::v1::AgentSettings& settings);

// Whether a rule or table is for this agent: enabled and its hosts selected; made for its
// architecture.
bool is_for(const sonde::v1::SamplingRule& rule, const AgentView& agent);
bool is_for(const sonde::v1::OffsetTable& table, const AgentView& agent);

struct FleetState {
  std::span<const sonde::v1::Session> sessions;
  std::span<const sonde::v1::SamplingRule> rules;
  std::span<const sonde::v1::OffsetTable> tables;
  const sonde::v1::AgentSettings* settings = nullptr;
};
// All assignments of one agent, by type and name. `assigned_sessions` are the ids of the sessions
// that were given to it (store/assignments.h): of these, the running ones.
std::vector<sonde::v1::Assignment> desired_assignments(
    const AgentView& agent, std::span<const std::string> assigned_sessions,
    const FleetState& fleet);

// What changes an agent that holds `held` into one that holds `desired`; the nonce is the caller's.
// Leases are not in it.
sonde::v1::Delta delta_between(
    std::span<const sonde::v1::HeldAssignment> held,
    std::span<const sonde::v1::Assignment> desired);

} // namespace controlplane::model
