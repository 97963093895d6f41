// What an AgentSession needs of the connection to its agent: three verbs, so that push knows no
// gRPC and its tests need none.
#pragma once

#include "base/result.h"

#include <memory>
#include <string>
#include <vector>

namespace controlplane::push {

// A serialized ConnectResponse, in pieces that follow each other on the wire. A piece may be shared
// by the messages of many agents: what is the same for all is encoded once.
struct EncodedMessage {
  std::vector<std::shared_ptr<const std::string>> pieces;
  size_t size() const {
    size_t bytes = 0;
    for (const auto& piece : pieces) bytes += piece->size();
    return bytes;
  }
};

// Called by one AgentSession, under its lock; must not call back from within.
class Stream {
 public:
  virtual ~Stream() = default;
  // Starts one write; AgentSession::written() follows. Never called while one is in flight.
  virtual void write(EncodedMessage message) = 0;
  // Ends the stream with this status; AgentSession::closed() follows. Called at most once.
  virtual void finish(const base::Error& status) = 0;
};

} // namespace controlplane::push
