// Channels to the control plane, and what it answers, as an agent needs them: lean and with mutual
// TLS.
#pragma once

#include "agent/identity/identity.h"

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace agent::identity {

// Connects with the first call. `credential` without a key: only the server proves itself
// (enrollment).
std::shared_ptr<grpc::Channel>
make_channel(const std::string& address, const Credential& credential);

// A status of the control plane as an error; the reason is one of its own, or
// CONTROL_PLANE_UNREACHABLE for what never reached it, or CONTROL_PLANE_ERROR with the unknown
// reason in the message.
base::Error to_error(const grpc::Status& status);

} // namespace agent::identity
