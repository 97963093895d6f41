#include "agent/link/transport.h"

#include "agent/identity/channel.h"
#include "base/join_token.h"
#include "sonde/v1/agent_control_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <mutex>

namespace agent::link {
namespace {

using sonde::v1::ConnectRequest;
using sonde::v1::ConnectResponse;

// Lives until OnDone; the ClientStream in front of it may go earlier.
class Reactor final : public grpc::ClientBidiReactor<ConnectRequest, ConnectResponse>,
                      public std::enable_shared_from_this<Reactor> {
 public:
  Reactor(std::shared_ptr<grpc::Channel> channel, std::shared_ptr<StreamListener> listener)
      : channel_(std::move(channel)), stub_(sonde::v1::AgentControlService::NewStub(channel_)),
        listener_(std::move(listener)) {}

  void start() {
    self_ = shared_from_this();
    stub_->async()->Connect(&context_, this);
    // Reads and writes are started from the link's thread: the hold keeps OnDone away until it lets
    // go.
    AddHold();
    StartCall();
  }
  void read() {
    if (!released_) StartRead(&incoming_);
  }
  void write(const ConnectRequest& message) {
    outgoing_ = message;
    if (!released_) StartWrite(&outgoing_);
  }
  void release() {
    if (released_.exchange(true)) return;
    context_.TryCancel();
    RemoveHold();
  }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  void OnReadInitialMetadataDone(bool ok) override {
    bool admitted =
        ok && context_.GetServerInitialMetadata().count(std::string(base::kAdmittedHeader)) > 0;
    if (admitted)
      listener_->accepted();
    else
      drop_hold();
  }
  void OnReadDone(bool ok) override {
    if (ok)
      listener_->received(std::move(incoming_));
    else
      drop_hold();
  }
  void OnWriteDone(bool ok) override {
    if (ok)
      listener_->written();
    else
      drop_hold();
  }
  void OnDone(const grpc::Status& status) override {
    listener_->closed(identity::to_error(status));
    listener_.reset();
    self_.reset();
  }
  // The stream is over: nothing more is started, and the status may come.
  void drop_hold() {
    if (!released_.exchange(true)) RemoveHold();
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<sonde::v1::AgentControlService::Stub> stub_;
  std::shared_ptr<StreamListener> listener_;
  grpc::ClientContext context_;
  ConnectResponse incoming_;
  ConnectRequest outgoing_;
  std::atomic<bool> released_{false};
  std::shared_ptr<Reactor> self_;
};

class GrpcStream final : public ClientStream {
 public:
  explicit GrpcStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  ~GrpcStream() override { reactor_->release(); }
  void read() override { reactor_->read(); }
  void write(const ConnectRequest& message) override { reactor_->write(message); }
  std::shared_ptr<grpc::Channel> channel() const override { return reactor_->channel(); }

 private:
  const std::shared_ptr<Reactor> reactor_;
};

struct KeptChannel {
  std::string address;
  std::shared_ptr<const identity::Credential> credential;
  std::shared_ptr<grpc::Channel> channel;
};

} // namespace

Dial grpc_dial() {
  return
      [kept = std::make_shared<KeptChannel>()](
          const std::string& address, const std::shared_ptr<const identity::Credential>& credential,
          std::shared_ptr<StreamListener> listener) -> std::unique_ptr<ClientStream> {
        if (!kept->channel || kept->address != address || kept->credential != credential)
          *kept = {address, credential, identity::make_channel(address, *credential)};
        auto reactor = std::make_shared<Reactor>(kept->channel, std::move(listener));
        reactor->start();
        return std::make_unique<GrpcStream>(std::move(reactor));
      };
}

} // namespace agent::link
