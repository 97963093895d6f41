#include "controlplane/edge/agent_control.h"

#include "base/join_token.h"
#include "base/log.h"
#include "base/seldom.h"
#include "controlplane/edge/authenticator.h"
#include "controlplane/edge/problem.h"
#include "controlplane/push/agent_session.h"
#include "sonde/v1/agent_control_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <mutex>

namespace controlplane::edge {
namespace {

using base::Error;
using Piece = std::shared_ptr<const std::string>;

// A slice that shares the piece's bytes and keeps them alive.
grpc::Slice to_slice(const Piece& piece) {
  return grpc::Slice(
      const_cast<char*>(piece->data()), piece->size(),
      [](void* owner) { delete static_cast<Piece*>(owner); }, new Piece(piece));
}

grpc::ByteBuffer to_buffer(const push::EncodedMessage& message) {
  std::vector<grpc::Slice> slices;
  for (const Piece& piece : message.pieces) slices.push_back(to_slice(piece));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

// One Connect stream. Nothing is read before the agent was let in; lives until OnDone.
class ConnectStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public push::Stream,
                            public std::enable_shared_from_this<ConnectStream> {
 public:
  ConnectStream(
      grpc::CallbackServerContext& context, push::Push& push, identity::Enrollment& enrollment)
      : context_(context), push_(push), enrollment_(enrollment) {}

  void start(const std::string& certificate_pem, Workers& workers) {
    self_ = shared_from_this();
    auto agent = enrollment_.verify(certificate_pem);
    if (!agent) return refuse(agent.error());
    agent_ = *std::move(agent);
    // Registered before its standing is read: a ban in between is not missed.
    registration_ = push_.live_streams().add(
        agent_.agent_id, agent_.not_after, [this](const Error& why) { finish(why); });
    if (!workers.post([self = shared_from_this()] { self->admit(); }))
      finish(base::unavailable("OVERLOADED", "too many calls wait; try again"));
  }

  void write(push::EncodedMessage message) override {
    outgoing_ = to_buffer(message);
    std::lock_guard lock(mutex_);
    if (!finished_) StartWrite(&outgoing_);
  }

  void finish(const Error& status) override {
    std::lock_guard lock(mutex_);
    if (std::exchange(finished_, true)) return;
    Finish(status.code == base::Code::kOk ? grpc::Status::OK : to_grpc_status(status, ""));
  }

 private:
  // Said now and then only: whoever knocks decides how often.
  void refuse(const Error& why) {
    static base::Seldom seldom;
    if (seldom.now())
      base::log::warn(
          "agent at {} is not let in: {} ({})", context_.peer(), why.message, why.reason);
    finish(why);
  }

  void admit() {
    if (auto admitted = enrollment_.admit(agent_); !admitted) return refuse(admitted.error());
    auto session = push_.connect(agent_.agent_id, *this);
    {
      std::lock_guard lock(mutex_);
      if (!done_) session_ = session;
    }
    if (!session_) return session->closed(); // ended meanwhile
    accept();
    read();
  }

  // The agent learns that it was let in before there is anything to say. A refusal has initial
  // metadata too, but an empty one.
  void accept() {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    context_.AddInitialMetadata(std::string(base::kAdmittedHeader), "1");
    StartSendInitialMetadata();
  }

  void read() {
    std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return finish({.code = base::Code::kOk});
    grpc::Slice bytes;
    if (!incoming_.TrySingleSlice(&bytes).ok() && !incoming_.DumpToSingleSlice(&bytes).ok())
      return finish(base::internal("a message cannot be read"));
    session_->received({reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
    incoming_.Clear();
    read();
  }

  void OnWriteDone(bool ok) override { session_->written(ok); }

  void OnDone() override {
    registration_.reset();
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    if (session_) session_->closed();
    self_.reset();
  }

  grpc::CallbackServerContext& context_; // valid until OnDone
  push::Push& push_;
  identity::Enrollment& enrollment_;
  identity::AgentCertificate agent_;
  std::shared_ptr<push::AgentSession> session_; // null until the agent was let in
  std::unique_ptr<push::LiveStreams::Registration> registration_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  std::mutex mutex_; // nothing is started after Finish
  bool finished_ = false;
  bool done_ = false;
  std::shared_ptr<ConnectStream> self_;
};

using RawService = sonde::v1::AgentControlService::WithRawCallbackMethod_Connect<
    sonde::v1::AgentControlService::Service>;

class AgentControlService final : public RawService {
 public:
  AgentControlService(push::Push& push, identity::Enrollment& enrollment, Workers& workers)
      : push_(push), enrollment_(enrollment), workers_(workers) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
  Connect(grpc::CallbackServerContext* context) override {
    auto stream = std::make_shared<ConnectStream>(*context, push_, enrollment_);
    stream->start(credentials_of(*context).certificate_pem, workers_);
    return stream.get();
  }

 private:
  push::Push& push_;
  identity::Enrollment& enrollment_;
  Workers& workers_;
};

} // namespace

std::unique_ptr<grpc::Service>
make_agent_control_service(push::Push& push, identity::Enrollment& enrollment, Workers& workers) {
  return std::make_unique<AgentControlService>(push, enrollment, workers);
}

} // namespace controlplane::edge
