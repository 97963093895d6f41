#include "controlplane/export/exporter.h"
#include "controlplane/store/exports.h"
#include "results_fixture.h"

#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <thread>

namespace {

using namespace results_fixture;
using controlplane::exporter::Destination;
using controlplane::exporter::Exporter;
using controlplane::ingest::Ingest;
using controlplane::ingest::StoredBatch;
using opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
using opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
using opentelemetry::proto::collector::trace::v1::TraceService;
namespace store = controlplane::store;

// An OTLP receiver that answers as the test says and remembers the span ids it accepted.
class Receiver final : public TraceService::Service {
 public:
  using Answer =
      std::function<grpc::Status(const ExportTraceServiceRequest&, ExportTraceServiceResponse&)>;
  explicit Receiver(
      Answer answer = [](const auto&, auto&) { return grpc::Status::OK; }, int port = 0)
      : answer_(std::move(answer)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Receiver() override { server_->Shutdown(std::chrono::system_clock::now()); }
  int port() const { return port_; }
  Destination destination(const std::string& name = "default") const {
    return {
        .name = name, .address = "127.0.0.1:" + std::to_string(port_), .headers = {{"x-key", "k"}}};
  }
  std::multiset<std::string> span_ids() const {
    std::lock_guard lock(mutex_);
    return span_ids_;
  }
  int requests() const { return requests_; }
  bool wait_for(size_t distinct) const {
    for (int i = 0; i < 1500; ++i) {
      const auto ids = span_ids();
      if (std::set<std::string>(ids.begin(), ids.end()).size() >= distinct) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  grpc::Status Export(
      grpc::ServerContext* context, const ExportTraceServiceRequest* request,
      ExportTraceServiceResponse* response) override {
    ++requests_;
    EXPECT_EQ(context->client_metadata().count("x-key"), 1u);
    const grpc::Status status = answer_(*request, *response);
    if (!status.ok()) return status;
    std::lock_guard lock(mutex_);
    for (const auto& resource : request->resource_spans())
      for (const auto& scope : resource.scope_spans())
        for (const auto& span : scope.spans()) span_ids_.insert(span.span_id());
    return status;
  }

 private:
  const Answer answer_;
  int port_ = 0;
  std::atomic<int> requests_ = 0;
  mutable std::mutex mutex_;
  std::multiset<std::string> span_ids_;
  std::unique_ptr<grpc::Server> server_;
};

class ExportTest : public testing::Test {
 protected:
  ExportTest() {
    add_agent(*pool, kAgent, "web-1");
    sonde::v1::Export where;
    where.set_store(false);
    where.add_otlp("default");
    add_session(*pool, kSession, {kAgent}, where);
  }
  void ingest(uint64_t first_span, uint64_t spans) {
    UploadRequest request = batch_of(++batch, {});
    for (uint64_t i = 0; i < spans; ++i) add_span(request, {.span = first_span + i});
    ASSERT_EQ(upload(*writer, request).outcome(), UploadResponse::ACCEPTED);
  }
  std::unique_ptr<Exporter> start(std::vector<Destination> destinations, Pool* with = nullptr) {
    return Exporter::start(with ? *with : *pool, std::move(destinations)).value();
  }

  postgres_fixture::ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
  std::unique_ptr<Ingest> writer = std::make_unique<Ingest>(*pool, [](const StoredBatch&) {});
  uint64_t batch = 0;
};

TEST_F(ExportTest, DeliversWhatWaitsAndWhatComes) {
  Receiver receiver;
  ingest(1, 3);
  const auto exporter = start({receiver.destination()});
  ASSERT_TRUE(receiver.wait_for(3));

  ingest(4, 2);
  exporter->wake();

  ASSERT_TRUE(receiver.wait_for(5));
  EXPECT_EQ(receiver.span_ids().size(), 5u);
  EXPECT_TRUE(receiver.span_ids().contains(bytes_of(5, 8)));
}

TEST_F(ExportTest, GoesOnWhereItEndedAfterARestart) {
  Receiver receiver;
  ingest(1, 3);
  auto exporter = start({receiver.destination()});
  ASSERT_TRUE(receiver.wait_for(3));
  // The note about it follows the delivery.
  for (int i = 0; i < 500 && number(*pool, "select sent_spans from export_cursors") != 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  exporter.reset();

  ingest(4, 2);
  exporter = start({receiver.destination()});

  ASSERT_TRUE(receiver.wait_for(5));
  EXPECT_EQ(receiver.span_ids().size(), 5u) << "nothing twice after a clean end";
}

TEST_F(ExportTest, TriesAgainUntilTheDestinationIsBack) {
  std::atomic<int> failures = 3;
  Receiver receiver([&](const auto&, auto&) {
    return failures-- > 0 ? grpc::Status(grpc::UNAVAILABLE, "not now") : grpc::Status::OK;
  });
  ingest(1, 3);

  const auto exporter = start({receiver.destination()});

  ASSERT_TRUE(receiver.wait_for(3));
  EXPECT_EQ(receiver.requests(), 4);
  EXPECT_EQ(exporter->stats()[0].failures, 3u);
}

TEST_F(ExportTest, RejectsTheOneBadBatchAndDeliversTheOthers) {
  Receiver receiver([](const ExportTraceServiceRequest& request, auto&) {
    for (const auto& resource : request.resource_spans())
      for (const auto& span : resource.scope_spans(0).spans())
        if (span.span_id() == bytes_of(2, 8)) return grpc::Status(grpc::INVALID_ARGUMENT, "bad");
    return grpc::Status::OK;
  });
  for (uint64_t i = 1; i <= 4; ++i) ingest(i, 1);

  const auto exporter = start({receiver.destination()});

  ASSERT_TRUE(receiver.wait_for(3));
  EXPECT_FALSE(receiver.span_ids().contains(bytes_of(2, 8)));
  for (int i = 0; i < 500 && exporter->stats()[0].sent_spans < 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(exporter->stats()[0].rejected_spans, 1u);
}

TEST_F(ExportTest, CountsAPartialSuccess) {
  Receiver receiver([](const auto&, ExportTraceServiceResponse& response) {
    response.mutable_partial_success()->set_rejected_spans(2);
    return grpc::Status::OK;
  });
  ingest(1, 5);

  const auto exporter = start({receiver.destination()});

  ASSERT_TRUE(receiver.wait_for(5));
  for (int i = 0; i < 500 && exporter->stats()[0].sent_spans == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(exporter->stats()[0].sent_spans, 3u);
  EXPECT_EQ(exporter->stats()[0].rejected_spans, 2u);
  const auto stored = [&] { return number(*pool, "select rejected_spans from export_cursors"); };
  for (int i = 0; i < 500 && stored() == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(stored(), 2);
}

TEST_F(ExportTest, OneReplicaExportsAndAnotherTakesOver) {
  Receiver receiver;
  auto other_pool = database.pool();
  auto one = start({receiver.destination()});
  for (int i = 0; i < 500 && !one->stats()[0].exporting; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto other = start({receiver.destination()}, other_pool.get());
  ingest(1, 3);
  ASSERT_TRUE(receiver.wait_for(3));
  EXPECT_FALSE(other->stats()[0].exporting);

  one.reset();
  ingest(4, 3);

  ASSERT_TRUE(receiver.wait_for(6));
  EXPECT_TRUE(other->stats()[0].exporting);
}

TEST_F(ExportTest, NeverSkipsWhatIsCommittedLate) {
  Receiver receiver;
  const auto exporter = start({receiver.destination()});
  std::promise<void> inserted, release;
  TracesData late;
  late.add_resource_spans()->add_scope_spans()->add_spans()->set_span_id(bytes_of(77, 8));
  // A transaction that begins first and commits last.
  std::jthread slow([&] {
    in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
      TRY(store::insert_export_batch(tx, {kSession, {"default"}, 1, late.SerializeAsString()}));
      inserted.set_value();
      release.get_future().wait();
      return {};
    });
  });
  inserted.get_future().wait();
  for (uint64_t i = 1; i <= 5; ++i) ingest(i, 1);
  ASSERT_TRUE(receiver.wait_for(5));

  release.set_value();

  ASSERT_TRUE(receiver.wait_for(6));
  EXPECT_TRUE(receiver.span_ids().contains(bytes_of(77, 8)));
  EXPECT_EQ(receiver.span_ids().size(), 6u);
}

TEST_F(ExportTest, DeletesWhatEveryDestinationHasAndKeepsWhatOneStillNeeds) {
  const auto insert = [&](std::vector<std::string> destinations) {
    in_transaction(*pool, [&](Transaction& tx) {
      return store::insert_export_batch(
          tx, {kSession, std::move(destinations), 10, std::string(1000, 'x')});
    });
  };
  insert({"a"});
  insert({"a", "b"});
  insert({"a"});
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    TRY(store::find_export_cursor(tx, "b"));
    const auto cursor = TRY(store::find_export_cursor(tx, "a"));
    const auto page = TRY(store::find_export_page(tx, "a", cursor, 2, 1 << 20));
    EXPECT_EQ(page.batches.size(), 2u);
    return store::write_export_cursor(tx, "a", page.next, {20, 0});
  });

  in_transaction(*pool, [](Transaction& tx) { return store::clean_exports(tx, 1 << 20); });
  EXPECT_EQ(number(*pool, "select count(*) from export_batches"), 2);

  const auto dropped =
      in_transaction(*pool, [](Transaction& tx) { return store::clean_exports(tx, 1500); });
  EXPECT_EQ(dropped.now, 10u) << "b lost the older one, a had it";
  EXPECT_EQ(number(*pool, "select count(*) from export_batches"), 1);
  EXPECT_EQ(number(*pool, "select dropped_spans from export_cursors where destination = 'b'"), 10);
  EXPECT_EQ(number(*pool, "select dropped_spans from export_cursors where destination = 'a'"), 0);
}

} // namespace
