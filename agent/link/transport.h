// One Connect stream at a time, without gRPC in sight: what Link needs of the network, and what its
// tests fake.
#pragma once

#include "agent/identity/identity.h"
#include "base/result.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <functional>
#include <memory>
#include <string>

namespace grpc {
class Channel;
}

namespace agent::link {

// What happens on a stream. Called from any thread; must not block or call back.
class StreamListener {
 public:
  virtual ~StreamListener() = default;
  virtual void accepted() = 0;                                   // the server let us in
  virtual void received(sonde::v1::ConnectResponse message) = 0; // the answer to read()
  virtual void written() = 0;                                    // the answer to write()
  virtual void closed(base::Error error) = 0; // the last call; kOk when the server just ended it
};

// Belongs to one thread. Destroying it cancels the stream; the listener may be called until
// closed().
class ClientStream {
 public:
  virtual ~ClientStream() = default;
  virtual void read() = 0;                                          // one at a time
  virtual void write(const sonde::v1::ConnectRequest& message) = 0; // one at a time
  virtual std::shared_ptr<grpc::Channel> channel() const = 0;       // may be null
};

// Opens a stream; the listener is kept until closed().
using Dial = std::function<std::unique_ptr<ClientStream>(
    const std::string& address, std::shared_ptr<const identity::Credential> credential,
    std::shared_ptr<StreamListener> listener)>;

// gRPC over mutual TLS; the channel is kept while address and credential stay the same.
Dial grpc_dial();

} // namespace agent::link
