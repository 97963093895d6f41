// What an agent should hold of what the store holds: as assignments with versions, and whether they
// are for it.
#pragma once

#include "controlplane/model/selector.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <string>

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

} // namespace controlplane::model
