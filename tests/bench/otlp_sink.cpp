// An OTLP/gRPC receiver that counts spans and forgets them: where both Sonde and the SDK end in the
// benchmark.
//
//   otlp_sink --listen 127.0.0.1:0
//
// prints "listening ADDRESS", and "spans N" with every SIGUSR1.
#include <grpcpp/grpcpp.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

namespace otlp = opentelemetry::proto::collector::trace::v1;

class CountingService final : public otlp::TraceService::CallbackService {
 public:
  uint64_t spans() const { return spans_; }

  grpc::ServerUnaryReactor* Export(
      grpc::CallbackServerContext* context, const otlp::ExportTraceServiceRequest* request,
      otlp::ExportTraceServiceResponse*) override {
    uint64_t count = 0;
    for (const auto& resource : request->resource_spans())
      for (const auto& scope : resource.scope_spans())
        count += static_cast<uint64_t>(scope.spans_size());
    spans_ += count;
    auto* reactor = context->DefaultReactor();
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
