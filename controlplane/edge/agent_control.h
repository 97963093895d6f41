// AgentControlService over gRPC: each Connect stream becomes a push::AgentSession.
#pragma once

#include "controlplane/edge/workers.h"
#include "controlplane/identity/enrollment.h"
#include "controlplane/push/push.h"

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

namespace controlplane::edge {

// All must outlive the server. Stop `push` before the server is shut down: it ends the streams.
std::unique_ptr<grpc::Service>
make_agent_control_service(push::Push& push, identity::Enrollment& enrollment, Workers& workers);

} // namespace controlplane::edge
