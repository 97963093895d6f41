#include "controlplane/model/desired_state.h"

#include "base/hex.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

namespace controlplane::model {
namespace {

using sonde::v1::Assignment;
using sonde::v1::AssignmentKey;

template <class Body>
void finish(
    Assignment& assignment, AssignmentKey::Type type, const std::string& name, const Body& body) {
  assignment.mutable_key()->set_type(type);
  assignment.mutable_key()->set_name(name);
  assignment.set_version(content_version(body));
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
  body->clear_confirmations();
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

} // namespace controlplane::model
