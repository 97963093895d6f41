// What one agent should hold, ready to be sent: assignments of which each is encoded once for all
// agents that get it.
#pragma once

#include "base/clock.h"
#include "controlplane/push/stream.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <compare>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace controlplane::push {

struct Key {
  sonde::v1::AssignmentKey::Type type{};
  std::string name;
  auto operator<=>(const Key&) const = default;
};

// Immutable, shared.
struct EncodedAssignment {
  Key key;
  std::string version;
  // Of sessions: when they end, wall time; no lease goes beyond. It is not part of the body.
  base::Nanoseconds expires{};
  // The field `assignments` of a Delta, tag and length included.
  std::shared_ptr<const std::string> field;
};
EncodedAssignment encode(const sonde::v1::Assignment& assignment, base::Nanoseconds expires = {});

using DesiredState = std::map<Key, EncodedAssignment>;

// ConnectResponse{delta} of `rest` (nonce, removed, leases) and these assignments.
EncodedMessage encode_delta(
    const sonde::v1::Delta& rest, const std::vector<std::shared_ptr<const std::string>>& fields);
EncodedMessage encode_message(const sonde::v1::ConnectResponse& message);

} // namespace controlplane::push
