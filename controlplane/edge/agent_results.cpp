#include "controlplane/edge/agent_results.h"

#include "controlplane/edge/authenticator.h"
#include "controlplane/edge/limits.h"
#include "controlplane/edge/problem.h"
#include "sonde/v1/agent_results_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <mutex>
#include <utility>

namespace controlplane::edge {
namespace {

using base::Error;
using sonde::v1::UploadResponse;

// Batches of one stream that ingest has and has not answered. Beyond it nothing is read: TCP tells
// the agent.
constexpr size_t kUnansweredMax = 128;

// One Upload stream. Nothing is read before the agent was let in; lives until OnDone, and as long
// as an answer is on its way to it.
class UploadStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, UploadResponse>,
                           public std::enable_shared_from_this<UploadStream> {
 public:
  UploadStream(ingest::Ingest& ingest, push::LiveStreams& streams, identity::Enrollment& enrollment)
      : ingest_(ingest), streams_(streams), enrollment_(enrollment) {}

  void start(const std::string& certificate_pem, Workers& workers) {
    self_ = shared_from_this();
    auto agent = enrollment_.verify(certificate_pem);
    if (!agent) return finish(agent.error());
    agent_ = *std::move(agent);
    // Registered before its standing is read: a ban in between is not missed.
    registration_ =
        streams_.add(agent_.agent_id, agent_.not_after, [this](const Error& why) { finish(why); });
    if (!workers.post([self = shared_from_this()] { self->admit(); }))
      finish(base::unavailable("OVERLOADED", "too many calls wait; try again"));
  }

 private:
  void admit() {
    if (auto admitted = enrollment_.admit(agent_); !admitted) return finish(admitted.error());
    std::lock_guard lock(mutex_);
    read_locked();
  }

  void finish(const Error& status) {
    std::lock_guard lock(mutex_);
    finish_locked(status.code == base::Code::kOk ? grpc::Status::OK : to_grpc_status(status, ""));
  }
  void finish_locked(const grpc::Status& status) {
    if (std::exchange(finished_, true)) return;
    outgoing_.clear();
    Finish(status);
  }

  void read_locked() {
    if (finished_ || reading_ || half_closed_ || unanswered_ >= kUnansweredMax) return;
    reading_ = true;
    StartRead(&incoming_);
  }
  void write_locked() {
    if (finished_ || writing_) return;
    if (outgoing_.empty()) {
      if (half_closed_ && unanswered_ == 0) finish_locked(grpc::Status::OK);
      return;
    }
    writing_ = true;
    StartWrite(&outgoing_.front());
  }

  void OnReadDone(bool ok) override {
    std::string message;
    {
      std::lock_guard lock(mutex_);
      reading_ = false;
      if (!ok) {
        half_closed_ = true;
        return write_locked();
      }
      grpc::Slice bytes;
      if (!incoming_.TrySingleSlice(&bytes).ok() && !incoming_.DumpToSingleSlice(&bytes).ok())
        return finish_locked(to_grpc_status(base::internal("a message cannot be read"), ""));
      message.assign(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
      incoming_.Clear();
      ++unanswered_;
      read_locked();
    }
    ingest_.submit(
        agent_.agent_id, std::move(message), [self = shared_from_this()](UploadResponse response) {
          self->answer(std::move(response));
        });
  }

  void answer(UploadResponse response) {
    std::lock_guard lock(mutex_);
    --unanswered_;
    if (finished_) return;
    outgoing_.push_back(std::move(response));
    write_locked();
    read_locked();
  }

  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (finished_) return;
    if (!ok) return finish_locked(grpc::Status::CANCELLED);
    outgoing_.pop_front();
    write_locked();
  }

  void OnDone() override {
    registration_.reset();
    const auto last = std::exchange(self_, nullptr);
  }

  ingest::Ingest& ingest_;
  push::LiveStreams& streams_;
  identity::Enrollment& enrollment_;
  identity::AgentCertificate agent_;
  std::unique_ptr<push::LiveStreams::Registration> registration_;
  grpc::ByteBuffer incoming_;
  std::mutex mutex_;                    // nothing is started after Finish
  std::deque<UploadResponse> outgoing_; // the first one is being written while writing_
  size_t unanswered_ = 0;
  bool reading_ = false;
  bool writing_ = false;
  bool half_closed_ = false; // the agent sends nothing more
  bool finished_ = false;
  std::shared_ptr<UploadStream> self_;
};

// Requests stay bytes (ingest reads views), answers are messages.
class AgentResultsService final : public grpc::Service {
 public:
  AgentResultsService(
      ingest::Ingest& ingest, push::LiveStreams& streams, identity::Enrollment& enrollment,
      Workers& workers)
      : ingest_(ingest), streams_(streams), enrollment_(enrollment), workers_(workers) {
    AddMethod(new grpc::internal::RpcServiceMethod(
        "/sonde.v1.AgentResultsService/Upload", grpc::internal::RpcMethod::BIDI_STREAMING,
        nullptr));
    MarkMethodCallback(
        0, new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, UploadResponse>(
               [this](grpc::CallbackServerContext* context) { return upload(*context); }));
  }

 private:
  grpc::ServerBidiReactor<grpc::ByteBuffer, UploadResponse>*
  upload(grpc::CallbackServerContext& context) {
    auto stream = std::make_shared<UploadStream>(ingest_, streams_, enrollment_);
    stream->start(credentials_of(context).certificate_pem, workers_);
    return stream.get();
  }

  ingest::Ingest& ingest_;
  push::LiveStreams& streams_;
  identity::Enrollment& enrollment_;
  Workers& workers_;
};

} // namespace

std::unique_ptr<grpc::Service> make_agent_results_service(
    ingest::Ingest& ingest, push::LiveStreams& streams, identity::Enrollment& enrollment,
    Workers& workers) {
  return std::make_unique<AgentResultsService>(ingest, streams, enrollment, workers);
}

} // namespace controlplane::edge
