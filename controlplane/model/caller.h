// Who is calling: decided once at the edge, from an API token or a client certificate, and handed
// by value to whatever acts for the caller.
#pragma once

#include <string>
#include <string_view>

namespace controlplane::model {

// Each role may do what the one before it may, except kAgent, which stands beside them.
enum class Role { kNone, kViewer, kOperator, kAdmin, kAgent };

struct Caller {
  Role role = Role::kNone;
  std::string name;     // of the API token; the agent's id for agents; "anonymous" without identity
  std::string agent_id; // set for agents only: from the certificate, never from a message
  std::string address;  // of the peer, for the audit log
  std::string request_id; // of this call, for logs, errors and the audit log
};

// "viewer", "operator", "admin", "agent" or "none".
std::string_view name_of(Role role);

} // namespace controlplane::model
