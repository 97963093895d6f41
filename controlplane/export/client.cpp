#include "controlplane/export/client.h"

#include "controlplane/export/limits.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <fstream>
#include <mutex>
#include <sstream>

namespace controlplane::exporter {
namespace {

using opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, ExportTraceServiceResponse>;
constexpr const char* kMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

std::optional<std::chrono::milliseconds> retry_info(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  for (const auto& detail : details.details()) {
    google::rpc::RetryInfo info;
    if (!detail.UnpackTo(&info)) continue;
    const auto asked =
        std::chrono::seconds(std::clamp<int64_t>(info.retry_delay().seconds(), 0, 3600)) +
        std::chrono::nanoseconds(info.retry_delay().nanos());
    return std::clamp(
        std::chrono::duration_cast<std::chrono::milliseconds>(asked), std::chrono::milliseconds(0),
        kRetryInfoMax);
  }
  return std::nullopt;
}

Verdict verdict_of(grpc::StatusCode code, bool has_retry_info) {
  switch (code) {
  case grpc::OK:
    return Verdict::kDelivered;
  case grpc::CANCELLED:
  case grpc::DEADLINE_EXCEEDED:
  case grpc::ABORTED:
  case grpc::OUT_OF_RANGE:
  case grpc::UNAVAILABLE:
  case grpc::DATA_LOSS:
    return Verdict::kRetry;
  case grpc::RESOURCE_EXHAUSTED:
    return has_retry_info ? Verdict::kRetry : Verdict::kRetryOrSplit;
  // A wrong key or a wrong port would throw away everything there is: kept until somebody looks.
  case grpc::UNAUTHENTICATED:
  case grpc::PERMISSION_DENIED:
  case grpc::UNIMPLEMENTED:
    return Verdict::kMisconfigured;
  default:
    return Verdict::kReject;
  }
}

base::Result<std::shared_ptr<grpc::ChannelCredentials>>
credentials_for(const Destination& destination) {
  if (!destination.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  if (!destination.ca_file.empty()) {
    std::ifstream file(destination.ca_file);
    std::stringstream text;
    text << file.rdbuf();
    options.pem_root_certs = text.str();
    if (!file || options.pem_root_certs.empty())
      return base::failed_precondition(
          "DESTINATION_CA_UNREADABLE",
          destination.ca_file + " of destination " + destination.name + " cannot be read");
  }
  return grpc::SslCredentials(options);
}

} // namespace

Delivery judge(const grpc::Status& status) {
  Delivery delivery;
  delivery.retry_after = retry_info(status);
  delivery.verdict = verdict_of(status.error_code(), delivery.retry_after.has_value());
  delivery.message = status.error_message();
  return delivery;
}

struct Client::State {
  Destination destination;
  std::shared_ptr<grpc::Channel> channel;
  // Its own queue: the thread that sends also polls, and no thread of gRPC is needed.
  grpc::CompletionQueue queue;
  std::mutex mutex;
  grpc::ClientContext* context = nullptr; // of the send() under way
  bool cancelled = false;
};

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::~Client() {
  state_->queue.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (state_->queue.Next(&tag, &ok)) {
  }
}

base::Result<std::unique_ptr<Client>> Client::make(const Destination& destination) {
  auto state = std::make_unique<State>();
  state->destination = destination;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  state->channel =
      grpc::CreateCustomChannel(destination.address, TRY(credentials_for(destination)), arguments);
  return std::unique_ptr<Client>(new Client(std::move(state)));
}

Delivery Client::send(std::string traces) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kRequestTimeout);
  for (const auto& [name, value] : state_->destination.headers) context.AddMetadata(name, value);
  const grpc::Slice slice(traces.data(), traces.size(), grpc::Slice::STATIC_SLICE);
  const grpc::ByteBuffer request(&slice, 1);
  ExportTraceServiceResponse response;
  grpc::Status status;
  {
    std::lock_guard lock(state_->mutex);
    if (state_->cancelled) return judge({grpc::CANCELLED, "shutting down"});
    state_->context = &context;
  }
  Stub stub(state_->channel);
  const auto call = stub.PrepareUnaryCall(&context, kMethod, request, &state_->queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  state_->queue.Next(&tag, &ok); // comes by the deadline at the latest
  {
    std::lock_guard lock(state_->mutex);
    state_->context = nullptr;
  }
  Delivery delivery = judge(status);
  if (status.ok() && response.has_partial_success()) {
    delivery.rejected_spans =
        static_cast<uint64_t>(std::max<int64_t>(response.partial_success().rejected_spans(), 0));
    delivery.message = response.partial_success().error_message();
  }
  return delivery;
}

void Client::cancel() {
  std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  if (state_->context) state_->context->TryCancel();
}

} // namespace controlplane::exporter
