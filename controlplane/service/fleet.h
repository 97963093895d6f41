// The reading half of AgentService that is about processes; agents themselves are in
// identity/administration.h.
#pragma once

#include "controlplane/model/caller.h"
#include "controlplane/service/services.h"
#include "sonde/v1/agent_service.pb.h"

namespace controlplane::service {

base::Result<sonde::v1::ListProcessesResponse> list_processes(
    const model::Caller& caller, const sonde::v1::ListProcessesRequest& request,
    Services& services);

} // namespace controlplane::service
