#include "agent/telemetry/telemetry.h"

#include "agent/telemetry/limits.h"
#include "agent/telemetry/tracestate.h"

#include "opentelemetry/proto/trace/v1/trace.pb.h"

#include <gmock/gmock.h>

namespace agent::telemetry {
namespace {

using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::TracesData;

class TelemetryTest : public testing::Test {
 protected:
  static event::HttpExchange exchange(uint32_t pid, uint64_t randomness = 0) {
    event::HttpExchange result;
    result.pid = pid;
    result.method = "GET";
    result.target = "/";
    result.status = 200;
    result.randomness = randomness;
    result.start_ns = 1;
    result.end_ns = 2;
    return result;
  }
  static SessionView view(std::string id, std::vector<uint32_t> pids) {
    SessionView result;
    result.session_id = std::move(id);
    result.pids = std::move(pids);
    return result;
  }
  static TracesData traces(const SessionBatch& batch) {
    TracesData data;
    EXPECT_TRUE(data.ParseFromString(batch.traces));
    return data;
  }
  static std::string
  attribute(const opentelemetry::proto::resource::v1::Resource& resource, const std::string& key) {
    for (const auto& a : resource.attributes())
      if (a.key() == key) return a.value().string_value();
    return "";
  }

  base::ManualClock clock;
  std::vector<SessionBatch> sent;
  Telemetry telemetry{{"host-1", "machine", "amd64"}, clock, [this](SessionBatch batch) {
                        sent.push_back(std::move(batch));
                      }};
};

TEST_F(TelemetryTest, TheFirstSpanLeavesWithTheNextFlush) {
  telemetry.set_process({.pid = 7, .service_name = "cart", .go_version = "go1.22.12"});
  telemetry.set_sessions({view("s1", {7})});
  telemetry.on_exchange(exchange(7));

  telemetry.flush();

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session_id, "s1");
  EXPECT_EQ(sent[0].spans, 1u);
  const TracesData data = traces(sent[0]);
  ASSERT_EQ(data.resource_spans_size(), 1);
  const auto& resource = data.resource_spans(0).resource();
  EXPECT_EQ(attribute(resource, "service.name"), "cart");
  EXPECT_EQ(attribute(resource, "telemetry.sdk.name"), "sonde");
  EXPECT_EQ(attribute(resource, "host.name"), "host-1");
  EXPECT_EQ(attribute(resource, "process.runtime.version"), "go1.22.12");
  EXPECT_EQ(data.resource_spans(0).schema_url(), "https://opentelemetry.io/schemas/1.44.0");
  ASSERT_EQ(data.resource_spans(0).scope_spans_size(), 1);
  EXPECT_EQ(data.resource_spans(0).scope_spans(0).scope().name(), "sonde");
  ASSERT_EQ(data.resource_spans(0).scope_spans(0).spans_size(), 1);
  EXPECT_EQ(data.resource_spans(0).scope_spans(0).spans(0).trace_state(), "ot=th:0");
}

TEST_F(TelemetryTest, LaterSpansWaitForCompanyUntilTheBatchIsOld) {
  telemetry.set_sessions({view("s1", {7})});
  telemetry.on_exchange(exchange(7));
  telemetry.flush();
  telemetry.on_exchange(exchange(7));
  clock.advance(kBatchAge / 2);
  telemetry.flush();
  EXPECT_EQ(sent.size(), 1u);

  telemetry.on_exchange(exchange(7));
  clock.advance(kBatchAge / 2);
  telemetry.flush();

  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[1].spans, 2u);
}

TEST_F(TelemetryTest, AFullBatchLeavesAtOnce) {
  telemetry.set_sessions({view("s1", {7})});
  event::HttpExchange big = exchange(7);
  big.target = "/" + std::string(4000, 'x');

  for (size_t i = 0; i < kBatchBytes / 4000 + 1; ++i) telemetry.on_exchange(big);

  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(TelemetryTest, GroupsByProcessWithTheResourceOnce) {
  telemetry.set_process({.pid = 7, .executable_name = "cart"});
  telemetry.set_sessions({view("s1", {7, 8})});
  for (const uint32_t pid : {7, 8, 7, 8, 7}) telemetry.on_exchange(exchange(pid));

  telemetry.flush();

  ASSERT_EQ(sent.size(), 1u);
  const TracesData data = traces(sent[0]);
  ASSERT_EQ(data.resource_spans_size(), 2);
  EXPECT_EQ(data.resource_spans(0).scope_spans(0).spans_size(), 3);
  EXPECT_EQ(data.resource_spans(1).scope_spans(0).spans_size(), 2);
  EXPECT_EQ(attribute(data.resource_spans(0).resource(), "service.name"), "unknown_service:cart");
  EXPECT_EQ(attribute(data.resource_spans(1).resource(), "service.name"), "unknown_service");
}

TEST_F(TelemetryTest, HandsEachSessionWhatItsThresholdKeeps) {
  SessionView half = view("half", {7});
  half.threshold = sampling_threshold(0.5);
  telemetry.set_sessions({view("all", {7}), half, view("other", {9})});
  const uint64_t middle = uint64_t{1} << 55;
  telemetry.on_exchange(exchange(7, middle - 1));
  telemetry.on_exchange(exchange(7, middle));

  telemetry.flush();

  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].session_id, "all");
  EXPECT_EQ(sent[0].spans, 2u);
  EXPECT_EQ(sent[1].session_id, "half");
  EXPECT_EQ(sent[1].spans, 1u);
  EXPECT_EQ(sent[1].losses.at("SAMPLED_OUT"), 1u);
  const Span span = traces(sent[1]).resource_spans(0).scope_spans(0).spans(0);
  EXPECT_EQ(span.trace_state(), "ot=th:8;rv:80000000000000");
  EXPECT_EQ(telemetry.spans_of("all"), 2u);
  EXPECT_EQ(telemetry.losses_of("half").at("SAMPLED_OUT"), 1u);
}

TEST_F(TelemetryTest, ASessionSeesOnlyTheSidesItAskedFor) {
  SessionView servers = view("servers", {7});
  servers.client = false;
  telemetry.set_sessions({servers});
  event::HttpExchange call = exchange(7);
  call.side = event::Side::kClient;
  telemetry.on_exchange(call);
  telemetry.on_exchange(exchange(7));

  telemetry.flush();

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].spans, 1u);
  EXPECT_TRUE(sent[0].losses.empty());
}

TEST_F(TelemetryTest, TheSmallerOfTwoCapsHoldsAndKeepsChildrenOfKeptRoots) {
  SessionView capped = view("capped", {7});
  capped.spans_per_second = 3;
  telemetry.set_sessions({capped, view("free", {7})});
  for (uint64_t root = 1; root <= 10; ++root)
    for (int span = 0; span < 2; ++span) telemetry.on_exchange(exchange(7, root));

  telemetry.flush();

  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].session_id, "capped");
  EXPECT_EQ(sent[0].spans, 6u) << "three roots with both of their spans";
  EXPECT_EQ(sent[0].losses.at("RATE_LIMITED"), 14u);
  EXPECT_EQ(sent[1].spans, 20u);
}

TEST_F(TelemetryTest, LossesTravelWithBatchesOrAloneAfterAWhile) {
  telemetry.set_sessions({view("s1", {7}), view("s2", {8})});
  telemetry.count_loss(7, "RING_FULL", 5);
  telemetry.flush();
  EXPECT_TRUE(sent.empty());

  clock.advance(kLossAge);
  telemetry.flush();

  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session_id, "s1");
  EXPECT_EQ(sent[0].spans, 0u);
  EXPECT_EQ(sent[0].losses.at("RING_FULL"), 5u);
}

TEST_F(TelemetryTest, WhatGatheredForAnEndedSessionStillLeaves) {
  telemetry.set_sessions({view("s1", {7})});
  telemetry.on_exchange(exchange(7));

  telemetry.set_sessions({});

  ASSERT_EQ(sent.size(), 1u);
  telemetry.on_exchange(exchange(7));
  telemetry.flush_all();
  EXPECT_EQ(sent.size(), 1u);
}

TEST(SamplingThreshold, CoversTheWholeRange) {
  EXPECT_EQ(sampling_threshold(1), 0u);
  EXPECT_EQ(sampling_threshold(2), 0u);
  EXPECT_EQ(sampling_threshold(0.5), uint64_t{1} << 55);
  EXPECT_EQ(sampling_threshold(0), uint64_t{1} << 56);
  EXPECT_EQ(sampling_threshold(-1), uint64_t{1} << 56);
}

TEST(Tracestate, LeadsWithTheThresholdAndKeepsOtherVendors) {
  std::string out;
  make_tracestate("a=1, ot=th:4;x:y,b=2", 0xC0000000000000, 0x7, {}, out);
  EXPECT_EQ(out, "ot=th:c;rv:00000000000007,a=1,b=2");

  std::array<uint8_t, 16> trace_id{};
  trace_id[15] = 7;
  make_tracestate("", 0, 7, trace_id, out);
  EXPECT_EQ(out, "ot=th:0");

  make_tracestate("k=" + std::string(600, 'v') + ",small=1", 0, 7, trace_id, out);
  EXPECT_EQ(out, "ot=th:0");
}

} // namespace
} // namespace agent::telemetry
