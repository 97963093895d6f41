// Which agent is at the other end of a gRPC call, and the TLS that carries the proof.
#pragma once

#include "base/result.h"
#include "controlplane/identity/authority.h"
#include "controlplane/identity/enrollment.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <string>

namespace controlplane::edge {

// TLS that asks for a client certificate and takes whatever comes, or none: the handshake proves
// that the peer has the key, and agent_certificate() with Enrollment::admit() decides about it, so
// that a refusal carries its reason. Nothing else may read the peer's identity from the connection.
std::shared_ptr<grpc::ServerCredentials> server_credentials(
    const identity::ServerCertificate& certificate, const std::string& authority_pem);

// Bounds for thousands of mostly idle agents: small windows, pings allowed, dead peers noticed.
void tune_for_agents(grpc::ServerBuilder& builder);

// The client certificate of the call, PEM. UNAUTHENTICATED (CERTIFICATE_REQUIRED) when there is
// none.
base::Result<std::string> agent_certificate(const grpc::ServerContextBase& context);

} // namespace controlplane::edge
