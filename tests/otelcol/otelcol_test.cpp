// From an HTTP exchange on a host to the file of a real OpenTelemetry Collector, through everything
// between them but the network: agent/telemetry, the bytes of an upload, ingest, PostgreSQL, the
// exporter.
#include "agent/export/message.h"
#include "agent/telemetry/telemetry.h"
#include "base/hex.h"
#include "collector.h"
#include "controlplane/export/exporter.h"
#include "results_fixture.h"

#include <boost/json.hpp>

#include <set>

namespace {

using namespace results_fixture;
using controlplane::exporter::Exporter;
using controlplane::ingest::Ingest;
using controlplane::ingest::StoredBatch;
namespace json = boost::json;

class OtelcolTest : public testing::Test {
 protected:
  void SetUp() override {
    if (auto reason = otelcol::Collector::skip_reason(); !reason.empty()) GTEST_SKIP() << reason;
    add_agent(*pool, kAgent, "web-1");
    sonde::v1::Export where;
    where.set_store(false);
    where.add_otlp("default");
    add_session(*pool, kSession, {kAgent}, where);
    collector = std::make_unique<otelcol::Collector>();
    writer = std::make_unique<Ingest>(*pool, [this](const StoredBatch&) {
      if (exporter) exporter->wake();
    });
    exporter =
        Exporter::start(*pool, {{.name = "default", .address = collector->address()}}).value();
    telemetry.set_process({.pid = 42, .service_name = "cart", .go_version = "go1.22.12"});
    agent::telemetry::SessionView view;
    view.session_id = kSession;
    view.pids = {42};
    telemetry.set_sessions({view});
  }
  void TearDown() override {
    exporter.reset();
    writer.reset();
  }

  // What the agent's uploader would send.
  void send(agent::telemetry::SessionBatch batch) {
    const grpc::ByteBuffer buffer = agent::exporter::encode_upload("boot-1", ++batches, batch);
    grpc::Slice slice;
    ASSERT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
    std::promise<UploadResponse> promise;
    writer->submit(
        kAgent, std::string(reinterpret_cast<const char*>(slice.begin()), slice.size()),
        [&](UploadResponse response) { promise.set_value(std::move(response)); });
    ASSERT_EQ(promise.get_future().get().outcome(), UploadResponse::ACCEPTED);
  }
  static agent::event::HttpExchange exchange(uint8_t span) {
    agent::event::HttpExchange exchange;
    exchange.pid = 42;
    exchange.method = "GET";
    exchange.target = "/cart/7?token=abc&page=2";
    exchange.host = "shop.example:8080";
    exchange.status = 503;
    exchange.start_ns = 1'000'000;
    exchange.end_ns = 3'000'000;
    exchange.trace_id = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6,
                         0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36};
    exchange.span_id = {0, 0, 0, 0, 0, 0, 1, span};
    exchange.parent_span_id = {0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
    exchange.parent_is_remote = true;
    exchange.peer = {{10, 0, 203, 9}, 4, 51234};
    return exchange;
  }
  // All spans that the Collector wrote, by span id; waits for `distinct` of them.
  std::map<std::string, json::object> spans_at_the_collector(size_t distinct) {
    std::map<std::string, json::object> spans;
    for (int i = 0; i < 1500 && spans.size() < distinct; ++i) {
      spans.clear();
      for (const std::string& line : collector->lines()) {
        const json::value request = json::parse(line);
        for (const auto& resource : request.at("resourceSpans").as_array())
          for (const auto& scope : resource.at("scopeSpans").as_array())
            for (const auto& span : scope.at("spans").as_array()) {
              json::object with_resource = span.as_object();
              with_resource["resource"] = resource.at("resource");
              spans[span.at("spanId").as_string().c_str()] = with_resource;
            }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return spans;
  }
  static std::map<std::string, std::string> attributes(const json::value& of) {
    std::map<std::string, std::string> attributes;
    for (const auto& attribute : of.at("attributes").as_array()) {
      const auto& value = attribute.at("value").as_object();
      attributes[attribute.at("key").as_string().c_str()] =
          value.begin()->value().as_string().c_str();
    }
    return attributes;
  }

  base::SystemClock clock;
  agent::telemetry::Telemetry telemetry{
      {"from-the-agent", "machine", "amd64"}, clock, [this](agent::telemetry::SessionBatch batch) {
        send(std::move(batch));
      }};
  postgres_fixture::ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
  std::unique_ptr<otelcol::Collector> collector;
  std::unique_ptr<Ingest> writer;
  std::unique_ptr<Exporter> exporter;
  uint64_t batches = 0;
};

TEST_F(OtelcolTest, ASpanArrivesWithItsIdsAndAttributes) {
  telemetry.on_exchange(exchange(1));
  telemetry.flush();

  const auto spans = spans_at_the_collector(1);

  ASSERT_EQ(spans.size(), 1u);
  const json::object& span = spans.begin()->second;
  EXPECT_EQ(span.at("spanId").as_string(), "0000000000000101");
  EXPECT_EQ(span.at("traceId").as_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(span.at("parentSpanId").as_string(), "00f067aa0ba902b7");
  EXPECT_EQ(span.at("name").as_string(), "GET");
  EXPECT_EQ(span.at("kind").as_int64(), 2);
  EXPECT_EQ(span.at("status").at("code").as_int64(), 2);
  EXPECT_TRUE(span.at("traceState").as_string().starts_with("ot=th:0"));
  const auto of_span = attributes(span);
  EXPECT_EQ(of_span.at("http.request.method"), "GET");
  EXPECT_EQ(of_span.at("url.path"), "/cart/7");
  EXPECT_EQ(of_span.at("url.query"), "token=REDACTED&page=2");
  EXPECT_EQ(of_span.at("http.response.status_code"), "503");
  EXPECT_EQ(of_span.at("error.type"), "503");
  EXPECT_EQ(of_span.at("server.address"), "shop.example");
  EXPECT_EQ(of_span.at("sonde.capture"), "socket");
  const auto of_resource = attributes(span.at("resource"));
  EXPECT_EQ(of_resource.at("service.name"), "cart");
  EXPECT_EQ(of_resource.at("telemetry.sdk.name"), "sonde");
  EXPECT_EQ(of_resource.at("host.name"), "web-1") << "the control plane vouches for the host";
  EXPECT_EQ(of_resource.at("sonde.agent.id"), kAgent);
}

TEST_F(OtelcolTest, NothingIsLostOrRenamedWhileTheCollectorIsAway) {
  telemetry.on_exchange(exchange(1));
  telemetry.flush_all();
  ASSERT_EQ(spans_at_the_collector(1).size(), 1u);

  collector->stop();
  for (uint8_t span = 2; span <= 20; ++span) {
    telemetry.on_exchange(exchange(span));
    telemetry.flush_all();
  }
  for (int i = 0; i < 1000 && exporter->stats()[0].failures == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_GT(exporter->stats()[0].failures, 0u);
  collector->start();

  const auto spans = spans_at_the_collector(20);
  EXPECT_EQ(spans.size(), 20u);
  EXPECT_EQ(spans.count("0000000000000114"), 1u);
}

} // namespace
