// What the stitcher saw and what it could not use; part of the heartbeat and of the session's
// losses.
#pragma once

#include <cstdint>

namespace agent::event {

struct StitcherCounts {
  uint64_t records = 0;
  uint64_t malformed_records = 0; // not ours: a bug, or a hostile writer
  uint64_t exchanges = 0;         // handed out
  // Heads that gave no exchange.
  uint64_t heads_truncated = 0; // longer than kHeadBytesMax (HEAD_TRUNCATED)
  uint64_t heads_malformed = 0; // looked like HTTP/1 to the kernel, and is not
  uint64_t heads_lost = 0;      // with bytes that never arrived here
  // Exchanges that were begun and given up.
  uint64_t exchanges_incomplete = 0; // their end was lost with records the ring had no room for
  uint64_t exchanges_unanswered = 0; // pipelined behind the one with which the connection ended
  uint64_t exchanges_evicted = 0;    // kConnectionsMax, kPipelinedRequestsMax
};

} // namespace agent::event
