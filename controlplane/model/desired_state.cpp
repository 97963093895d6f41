#include "controlplane/model/desired_state.h"

#include "base/hex.h"
#include "controlplane/model/session_state.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <map>
#include <utility>

namespace controlplane::model {
namespace {

using sonde::v1::Assignment;
using sonde::v1::AssignmentKey;
using Key = std::pair<int, std::string>;

Key key_of(const AssignmentKey& key) { return {key.type(), key.name()}; }

template <class Body>
void finish(
    Assignment& assignment, AssignmentKey::Type type, const std::string& name, const Body& body) {
  assignment.mutable_key()->set_type(type);
  assignment.mutable_key()->set_name(name);
  assignment.set_version(content_version(body));
}

template <class Thing> bool by_id(const Thing* a, const Thing* b) { return a->id() < b->id(); }

template <class Thing, class Predicate>
std::vector<const Thing*> ordered(std::span<const Thing> things, Predicate wanted) {
  std::vector<const Thing*> chosen;
  for (const Thing& thing : things)
    if (wanted(thing)) chosen.push_back(&thing);
  std::sort(chosen.begin(), chosen.end(), by_id<Thing>);
  return chosen;
}

} // namespace

std::string content_version(const google::protobuf::Message& body) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    body.SerializeWithCachedSizes((static_cast<void>(body.ByteSizeLong()), &coded));
  }
  return base::to_hex(base::sha256(bytes));
}

Assignment assignment_of(const sonde::v1::Session& session) {
  Assignment assignment;
  auto* body = assignment.mutable_session();
  body->set_session_id(session.id());
  body->set_display_name(session.display_name());
  body->mutable_selector()->set_service(session.selector().service());
  body->mutable_selector()->set_executable(session.selector().executable());
  *body->mutable_selector()->mutable_pids() = session.selector().pids();
  *body->mutable_probes() = session.probes();
  *body->mutable_sampling() = session.sampling();
  *body->mutable_budget() = session.budget();
  body->set_propagation(session.propagation());
  finish(assignment, AssignmentKey::SESSION, session.id(), *body);
  return assignment;
}

Assignment assignment_of(const sonde::v1::SamplingRule& rule) {
  Assignment assignment;
  auto* body = assignment.mutable_sampling_rule();
  body->set_id(rule.id());
  body->set_display_name(rule.display_name());
  // The hosts were chosen here already: naming them to every agent would only make them differ.
  body->mutable_selector()->set_service(rule.selector().service());
  body->mutable_selector()->set_executable(rule.selector().executable());
  *body->mutable_selector()->mutable_pids() = rule.selector().pids();
  if (rule.has_ratio()) body->set_ratio(rule.ratio());
  body->set_spans_per_second(rule.spans_per_second());
  finish(assignment, AssignmentKey::SAMPLING_RULE, rule.id(), *body);
  return assignment;
}

Assignment assignment_of(const sonde::v1::OffsetTable& table) {
  Assignment assignment;
  auto* body = assignment.mutable_offset_table();
  *body = table;
  body->clear_create_time();
  body->clear_created_by();
  body->clear_etag();
  finish(assignment, AssignmentKey::OFFSET_TABLE, table.id(), *body);
  return assignment;
}

Assignment assignment_of(const sonde::v1::AgentSettings& settings) {
  Assignment assignment;
  *assignment.mutable_settings() = settings;
  finish(assignment, AssignmentKey::SETTINGS, "", settings);
  return assignment;
}

bool is_for(const sonde::v1::SamplingRule& rule, const AgentView& agent) {
  return !rule.disabled() && selects_agent(rule.selector(), agent);
}

bool is_for(const sonde::v1::OffsetTable& table, const AgentView& agent) {
  return agent.architecture.empty() || table.architecture() == agent.architecture;
}

std::vector<Assignment> desired_assignments(
    const AgentView& agent, std::span<const std::string> assigned_sessions,
    const FleetState& fleet) {
  std::vector<Assignment> desired;
  auto is_given = [&](const sonde::v1::Session& session) {
    return is_running(session.state()) &&
           std::find(assigned_sessions.begin(), assigned_sessions.end(), session.id()) !=
               assigned_sessions.end();
  };
  for (const auto* session : ordered(fleet.sessions, is_given))
    desired.push_back(assignment_of(*session));
  for (const auto* rule :
       ordered(fleet.rules, [&](const auto& each) { return is_for(each, agent); }))
    desired.push_back(assignment_of(*rule));
  for (const auto* table :
       ordered(fleet.tables, [&](const auto& each) { return is_for(each, agent); }))
    desired.push_back(assignment_of(*table));
  if (fleet.settings) desired.push_back(assignment_of(*fleet.settings));
  return desired;
}

sonde::v1::Delta delta_between(
    std::span<const sonde::v1::HeldAssignment> held, std::span<const Assignment> desired) {
  std::map<Key, std::string> versions;
  for (const auto& each : held) versions[key_of(each.key())] = each.version();
  sonde::v1::Delta delta;
  for (const Assignment& assignment : desired) {
    auto found = versions.find(key_of(assignment.key()));
    const bool has_it = found != versions.end() && found->second == assignment.version();
    if (found != versions.end()) versions.erase(found);
    if (!has_it) *delta.add_assignments() = assignment;
  }
  for (const auto& [key, version] : versions) {
    auto* removed = delta.add_removed();
    removed->set_type(static_cast<AssignmentKey::Type>(key.first));
    removed->set_name(key.second);
  }
  return delta;
}

} // namespace controlplane::model
