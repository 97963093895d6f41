// What a Hello may say. Pure.
#pragma once

#include "base/result.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <string>

namespace controlplane::push {

// Cuts what is only for people to its limits; refuses what is not an agent's to say
// (INVALID_MESSAGE).
base::Result<> check_hello(sonde::v1::Hello& hello);

// At most `bytes_max` bytes, and no half character at the end.
void cut_text(size_t bytes_max, std::string* text);

} // namespace controlplane::push
