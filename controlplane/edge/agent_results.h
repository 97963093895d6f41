// AgentResultsService over gRPC: batches of agents on their way to ingest, answers on their way
// back.
#pragma once

#include "controlplane/edge/workers.h"
#include "controlplane/identity/enrollment.h"
#include "controlplane/ingest/ingest.h"
#include "controlplane/push/live_streams.h"

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

namespace controlplane::edge {

// All must outlive the server. Upload streams are registered in `streams`, and end with the agent's
// certificate. Stop `ingest` before the server is shut down: it answers what waits.
std::unique_ptr<grpc::Service> make_agent_results_service(
    ingest::Ingest& ingest, push::LiveStreams& streams, identity::Enrollment& enrollment,
    Workers& workers);

} // namespace controlplane::edge
