// What the agent says about its host and itself.
#pragma once

#include "agent/app/config.h"
#include "agent/probe/kernel_features.h"
#include "agent/process/process.h"
#include "sonde/v1/agent_control_service.pb.h"

namespace agent::app {

// A Hello without what the agent holds.
sonde::v1::Hello describe_host(const Config& config, const probe::KernelFeatures& features);

// A process as the control plane knows it: what can run in it, or why nothing can.
sonde::v1::Process describe_process(const process::GoProcess& process, const std::string& hostname);

// CPU seconds and resident bytes of this process.
void measure_self(sonde::v1::AgentHealth& health);

} // namespace agent::app
