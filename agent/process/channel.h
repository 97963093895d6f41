// Messages over a stream socket, with at most one descriptor each: how the agent and its worker
// talk.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace agent::process {

struct Message {
  std::string bytes;
  base::Fd descriptor; // empty when none came with it
};

// `descriptor` may be -1. UNAVAILABLE when the other side has gone.
base::Result<void> send_message(int socket, std::string_view bytes, int descriptor = -1);

// DEADLINE_EXCEEDED after `timeout_ms`, UNAVAILABLE when the other side has gone, ANALYSIS_FAILED
// when the message is longer than `bytes_max`.
base::Result<Message> receive_message(int socket, uint64_t bytes_max, int timeout_ms);

} // namespace agent::process
