// An OTLP/gRPC receiver that counts spans and forgets them: where both Sonde and the SDK end in the
// benchmark.
//
//   otlp_sink --listen 127.0.0.1:0
//
// prints "listening ADDRESS", and "spans N" with every SIGUSR1.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/grpcpp.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

namespace otlp = opentelemetry::proto::collector::trace::v1;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Calls `visit` with the size of every occurrence of a length-delimited field; `visit` reads or
// skips it.
template <class Visit> void for_each(CodedInputStream& in, uint32_t field, const Visit& visit) {
  const uint32_t wanted =
      WireFormatLite::MakeTag(static_cast<int>(field), WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t size = 0;
    if (tag != wanted) {
      if (!WireFormatLite::SkipField(&in, tag)) return;
    } else if (in.ReadVarint32(&size)) {
      visit(size);
    }
  }
}

// ExportTraceServiceRequest.resource_spans → ResourceSpans.scope_spans → ScopeSpans.spans. Parsing
// them all cost more than the agent did, on the core that the load needs.
uint64_t count_spans(const std::string& request) {
  CodedInputStream in(
      reinterpret_cast<const uint8_t*>(request.data()), static_cast<int>(request.size()));
  uint64_t count = 0;
  const auto inside = [&in](uint32_t size, const auto& visit) {
    const auto limit = in.PushLimit(static_cast<int>(size));
    for_each(in, 2, visit);
    in.PopLimit(limit);
  };
  for_each(in, 1, [&](uint32_t resource_spans) {
    inside(resource_spans, [&](uint32_t scope_spans) {
      inside(scope_spans, [&](uint32_t span) { count += in.Skip(static_cast<int>(span)) ? 1 : 0; });
    });
  });
  return count;
}

class CountingService final
    : public otlp::TraceService::WithRawCallbackMethod_Export<otlp::TraceService::Service> {
 public:
  uint64_t spans() const { return spans_; }

  grpc::ServerUnaryReactor* Export(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override {
    grpc::Slice bytes;
    auto* reactor = context->DefaultReactor();
    if (!request->DumpToSingleSlice(&bytes).ok()) {
      reactor->Finish(grpc::Status(grpc::StatusCode::INTERNAL, "no bytes"));
      return reactor;
    }
    spans_ += count_spans({reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
    const grpc::Slice nothing;
    *response = grpc::ByteBuffer(&nothing, 1);
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  std::atomic<uint64_t> spans_ = 0;
};

} // namespace

int main(int argc, char** argv) {
  const std::string listen =
      argc == 3 && std::strcmp(argv[1], "--listen") == 0 ? argv[2] : "127.0.0.1:0";
  // Before gRPC starts its threads, so that they leave the signals to us.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGUSR1, SIGTERM, SIGINT}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  CountingService service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(-1);
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (!server || port == 0) {
    std::fprintf(stderr, "otlp_sink: cannot listen at %s\n", listen.c_str());
    return 1;
  }
  std::printf("listening %s:%d\n", listen.substr(0, listen.rfind(':')).c_str(), port);
  std::fflush(stdout);
  for (int number = 0; sigwait(&signals, &number) == 0 && number == SIGUSR1;) {
    std::printf("spans %lu\n", service.spans());
    std::fflush(stdout);
  }
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}
