#include "agent/export/exporter.h"

#include "agent/export/limits.h"
#include "agent/telemetry/limits.h"

#include "sonde/v1/agent_results_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <mutex>
#include <thread>

namespace agent::exporter {
namespace {

using sonde::v1::UploadRequest;
using sonde::v1::UploadResponse;

// A control plane that answers as the test says and remembers what it was sent.
class Server final : public sonde::v1::AgentResultsService::Service {
 public:
  // None: say nothing.
  using Answer = std::function<std::optional<UploadResponse>(const UploadRequest&)>;

  explicit Server(Answer answer, int port = 0) : answer_(std::move(answer)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Server() override { stop(); }
  void stop() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  int port() const { return port_; }
  std::shared_ptr<grpc::Channel> channel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string(port_), grpc::InsecureChannelCredentials(), arguments);
  }
  bool wait_for(size_t requests) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(
        lock, std::chrono::seconds(10), [&] { return requests_.size() >= requests; });
  }
  std::vector<UploadRequest> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }

  grpc::Status Upload(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<UploadResponse, UploadRequest>* stream) override {
    UploadRequest request;
    while (stream->Read(&request)) {
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      arrived_.notify_all();
      if (auto answer = answer_(request)) stream->Write(*answer);
    }
    return grpc::Status::OK;
  }

 private:
  const Answer answer_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<UploadRequest> requests_;
  std::unique_ptr<grpc::Server> server_;
};

UploadResponse respond(const UploadRequest& request, UploadResponse::Outcome outcome) {
  UploadResponse response;
  response.set_batch(request.batch());
  response.set_outcome(outcome);
  return response;
}
std::optional<UploadResponse> accept(const UploadRequest& request) {
  return respond(request, UploadResponse::ACCEPTED);
}

telemetry::SessionBatch batch_of(const std::string& session, uint32_t spans, size_t padding = 0) {
  opentelemetry::proto::trace::v1::TracesData data;
  auto& scope = *data.add_resource_spans()->add_scope_spans();
  for (uint32_t i = 0; i < spans; ++i) scope.add_spans()->set_name("GET");
  if (padding) scope.mutable_spans(0)->set_name(std::string(padding, 'x'));
  telemetry::SessionBatch batch;
  batch.session_id = session;
  batch.traces = data.SerializeAsString();
  batch.spans = spans;
  return batch;
}

TEST(Exporter, OpensNoStreamBeforeTheFirstBatch) {
  Server server(accept);
  Exporter exporter;
  exporter.set_channel(server.channel());

  EXPECT_FALSE(exporter.stats().connected);
  exporter.submit(batch_of("s1", 2));

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(10)));
  EXPECT_TRUE(exporter.stats().connected);
}

TEST(Exporter, SendsNumberedBatchesWithSpansAndLosses) {
  Server server(accept);
  Exporter exporter;
  exporter.set_channel(server.channel());
  telemetry::SessionBatch first = batch_of("s1", 2);
  first.losses["RING_FULL"] = 3;

  exporter.submit(std::move(first));
  exporter.submit({.session_id = "s2", .losses = {{"SAMPLED_OUT", 1}}});

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(10)));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].batch(), 1u);
  EXPECT_EQ(requests[0].session_id(), "s1");
  EXPECT_EQ(requests[0].boot_id().size(), 32u);
  EXPECT_EQ(requests[0].traces().resource_spans(0).scope_spans(0).spans_size(), 2);
  ASSERT_EQ(requests[0].losses_size(), 1);
  EXPECT_EQ(requests[0].losses(0).reason(), "RING_FULL");
  EXPECT_EQ(requests[0].losses(0).count(), 3u);
  EXPECT_EQ(requests[1].batch(), 2u);
  EXPECT_FALSE(requests[1].has_traces());
  EXPECT_EQ(exporter.stats().spans_accepted, 2u);
  EXPECT_EQ(exporter.stats().spool_bytes, 0u);
}

TEST(Exporter, KeepsBatchesUntilThereIsAChannel) {
  Exporter exporter;
  exporter.submit(batch_of("s1", 1));
  EXPECT_FALSE(exporter.drain(std::chrono::milliseconds(20)));
  EXPECT_EQ(exporter.stats().spool_batches, 1u);

  Server server(accept);
  exporter.set_channel(server.channel());

  EXPECT_TRUE(exporter.drain(std::chrono::seconds(10)));
}

TEST(Exporter, ResendsWhatWasNotAnsweredUnderTheSameNumber) {
  auto silent = std::make_unique<Server>([](const UploadRequest&) { return std::nullopt; });
  Exporter exporter;
  exporter.set_channel(silent->channel());
  exporter.submit(batch_of("s1", 1));
  exporter.submit(batch_of("s1", 2));
  ASSERT_TRUE(silent->wait_for(2));
  const int port = silent->port();
  const auto before = silent->requests();
  silent.reset();

  Server server(accept, port);

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(10)));
  const auto after = server.requests();
  ASSERT_EQ(after.size(), 2u);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(after[i].SerializeAsString(), before[i].SerializeAsString());
}

TEST(Exporter, AMovedChannelTakesWhatWasNotAnsweredAlong) {
  Server silent([](const UploadRequest&) { return std::nullopt; });
  Server server(accept);
  Exporter exporter;
  exporter.set_channel(silent.channel());
  exporter.submit(batch_of("s1", 1));
  ASSERT_TRUE(silent.wait_for(1));

  exporter.set_channel(server.channel());

  EXPECT_TRUE(exporter.drain(std::chrono::seconds(10)));
}

TEST(Exporter, WaitsAsLongAsItIsToldAndThenTriesAgain) {
  std::atomic<int> refusals = 2;
  Server server([&](const UploadRequest& request) {
    if (refusals-- <= 0) return accept(request);
    UploadResponse response = respond(request, UploadResponse::RETRY);
    response.mutable_retry_after()->set_nanos(150'000'000);
    return std::optional(response);
  });
  Exporter exporter;
  exporter.set_channel(server.channel());
  const auto begun = std::chrono::steady_clock::now();

  exporter.submit(batch_of("s1", 1));

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(10)));
  EXPECT_EQ(server.requests().size(), 3u);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(300));
}

TEST(Exporter, CountsWhatIsRefusedForGood) {
  Server server([](const UploadRequest& request) {
    UploadResponse response = respond(request, UploadResponse::REFUSED);
    response.set_reason("SESSION_NOT_ASSIGNED");
    return std::optional(response);
  });
  Exporter exporter;
  exporter.set_channel(server.channel());

  exporter.submit(batch_of("s1", 5));

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(10)));
  EXPECT_EQ(exporter.stats().lost.at("SESSION_NOT_ASSIGNED"), 5u);
}

TEST(Exporter, AFullSpoolDropsTheOldestAndTellsTheSession) {
  Exporter exporter;
  const size_t batch_bytes = 1'000'000;
  const size_t fits = kSpoolBytesMax / batch_bytes;
  telemetry::SessionBatch first = batch_of("s1", 3, batch_bytes);
  first.losses["RING_FULL"] = 7;
  exporter.submit(std::move(first));
  for (size_t i = 0; i < fits; ++i) exporter.submit(batch_of("s2", 1, batch_bytes));
  EXPECT_LE(exporter.stats().spool_bytes, kSpoolBytesMax);
  EXPECT_EQ(exporter.stats().lost.at("SPOOL_FULL"), 3u);

  Server server(accept);
  exporter.set_channel(server.channel());

  ASSERT_TRUE(server.wait_for(fits + 1));
  std::map<std::string, uint64_t> losses;
  for (const auto& request : server.requests())
    for (const auto& loss : request.losses()) {
      EXPECT_EQ(request.session_id(), "s1");
      losses[loss.reason()] += loss.count();
    }
  EXPECT_EQ(losses["SPOOL_FULL"], 3u);
  EXPECT_EQ(losses["RING_FULL"], 7u);
}

TEST(Exporter, WhatDoesNotFitInMemoryWaitsInAFileAndArrivesInOrder) {
  Exporter exporter(testing::TempDir());
  const size_t batch_bytes = 1'000'000;
  const size_t batches = 3 * kSpoolBytesMax / batch_bytes;
  for (size_t i = 0; i < batches; ++i) exporter.submit(batch_of("s1", 1, batch_bytes));
  EXPECT_GT(exporter.stats().spool_bytes, 2 * kSpoolBytesMax);

  Server server(accept);
  exporter.set_channel(server.channel());

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(20)));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), batches);
  for (size_t i = 1; i < batches; ++i) EXPECT_EQ(requests[i].batch(), requests[i - 1].batch() + 1);
  EXPECT_GT(requests.back().ByteSizeLong(), batch_bytes);
  EXPECT_EQ(exporter.stats().spans_accepted, batches);
  EXPECT_EQ(exporter.stats().spool_bytes, 0u);
  EXPECT_TRUE(exporter.stats().lost.empty());
}

// RLIMIT_FSIZE is a disk that is full after so many bytes.
class FullDisk {
 public:
  explicit FullDisk(size_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  void (*signal_)(int);
};

TEST(Exporter, WhatAFullDiskDoesNotTakeStaysInMemoryAndTheOldestIsCounted) {
  const size_t batch_bytes = 1'000'000;
  const size_t in_memory = kSpoolBytesMax / batch_bytes;
  const size_t in_file = 2;
  const size_t too_many = 4;
  const FullDisk disk(in_file * batch_bytes + batch_bytes / 2);
  Exporter exporter(testing::TempDir());
  for (size_t i = 0; i < in_memory + in_file + too_many; ++i)
    exporter.submit(batch_of("s1", 1, batch_bytes));

  const auto lost = [&] { return exporter.stats().lost["SPOOL_FULL"]; };
  for (int wait = 0; wait < 500 && lost() < too_many; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(lost(), too_many);
  Server server(accept);
  exporter.set_channel(server.channel());

  ASSERT_TRUE(exporter.drain(std::chrono::seconds(20)));
  EXPECT_EQ(exporter.stats().spans_accepted, in_memory + in_file);
  EXPECT_EQ(lost(), too_many);
}

TEST(Exporter, ABrokenControlPlaneIsNotHammered) {
  Server server([](const UploadRequest&) { return std::nullopt; });
  auto channel = server.channel();
  server.stop();
  Exporter exporter;
  exporter.set_channel(channel);

  exporter.submit(batch_of("s1", 1));

  EXPECT_FALSE(exporter.drain(std::chrono::milliseconds(700)));
  EXPECT_LE(exporter.stats().batches_sent, 6u);
}

} // namespace
} // namespace agent::exporter
