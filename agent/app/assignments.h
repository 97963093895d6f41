// What the control plane has assigned so far: deltas in, the desired state out. Pure.
#pragma once

#include "agent/plan/desired_state.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <map>
#include <string>
#include <vector>

namespace agent::app {

// Owned by the control thread.
class Assignments {
 public:
  // Takes in a delta that arrived at `received_at` (boot time). Answers the acknowledgement of
  // everything in it that needs no kernel: rules, settings, and bodies that are not understood.
  // Sessions are answered when the probe thread has dealt with them, tables by TableChecks.
  sonde::v1::Ack apply(const sonde::v1::Delta& delta, base::Nanoseconds received_at);
  // The sessions that the last delta took away, as the acknowledgement that is due once they are
  // detached.
  sonde::v1::Ack removed_sessions() const { return removed_sessions_; }
  // New ends of leases of sessions that are held, by session.
  std::map<std::string, base::Nanoseconds> refresh(
      const google::protobuf::RepeatedPtrField<sonde::v1::SessionLease>& leases,
      base::Nanoseconds received_at);

  // Sessions carry the nonce of the last delta when it named them.
  const plan::DesiredState& desired() const { return desired_; }
  const sonde::v1::AgentSettings& settings() const { return settings_; }
  // Empty for what is not held.
  std::string version_of(const sonde::v1::AssignmentKey& key) const;
  // With versions, for a Hello; a session whose lease is over is not held any more.
  std::vector<sonde::v1::HeldAssignment> held(base::Nanoseconds now) const;

 private:
  using KeyText = std::string; // type and name

  bool take(const sonde::v1::Assignment& assignment, uint64_t nonce, base::Nanoseconds deadline);
  void remove(const sonde::v1::AssignmentKey& key, uint64_t nonce, sonde::v1::Ack& ack);

  plan::DesiredState desired_;
  sonde::v1::AgentSettings settings_;
  std::map<KeyText, sonde::v1::HeldAssignment> held_;
  sonde::v1::Ack removed_sessions_;
};

// One line of an acknowledgement.
void add_status(
    sonde::v1::Ack& ack, const sonde::v1::AssignmentKey& key, const std::string& version,
    sonde::v1::AssignmentStatus status);

} // namespace agent::app
