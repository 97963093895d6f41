#include "controlplane/ingest/upload.h"

#include "controlplane/ingest/limits.h"

#include "opentelemetry/proto/trace/v1/trace.pb.h"
#include "sonde/v1/agent_results_service.pb.h"

#include <gtest/gtest.h>

namespace controlplane::ingest {
namespace {

using opentelemetry::proto::resource::v1::Resource;
using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::TracesData;
using sonde::v1::UploadRequest;

void add_attribute(Resource& resource, const std::string& key, const std::string& value) {
  auto& attribute = *resource.add_attributes();
  attribute.set_key(key);
  attribute.mutable_value()->set_string_value(value);
}

UploadRequest request_of(int spans) {
  UploadRequest request;
  request.set_boot_id("boot");
  request.set_batch(7);
  request.set_session_id("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa");
  auto& group = *request.mutable_traces()->add_resource_spans();
  add_attribute(*group.mutable_resource(), "service.name", "cart");
  group.set_schema_url("https://opentelemetry.io/schemas/1.44.0");
  auto& scope = *group.add_scope_spans();
  scope.mutable_scope()->set_name("sonde");
  for (int i = 1; i <= spans; ++i) {
    Span& span = *scope.add_spans();
    span.set_trace_id(std::string(15, '\0') + static_cast<char>(i));
    span.set_span_id(std::string(7, '\0') + static_cast<char>(i));
    span.set_parent_span_id("12345678");
    span.set_name("GET");
    span.set_kind(Span::SPAN_KIND_SERVER);
    span.set_start_time_unix_nano(1000);
    span.set_end_time_unix_nano(3000);
    span.mutable_status()->set_code(opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR);
    auto& attribute = *span.add_attributes();
    attribute.set_key("url.path");
    attribute.mutable_value()->set_string_value("/caf\xC3\xA9");
  }
  return request;
}

Span& first_span(UploadRequest& request) {
  return *request.mutable_traces()
              ->mutable_resource_spans(0)
              ->mutable_scope_spans(0)
              ->mutable_spans(0);
}

TEST(Upload, ReadsTheFieldsThatTheStoreNeeds) {
  const std::string message = request_of(2).SerializeAsString();

  const Upload upload = decode_upload(message).value();

  EXPECT_EQ(upload.boot_id, "boot");
  EXPECT_EQ(upload.batch, 7u);
  EXPECT_EQ(upload.spans, 2u);
  ASSERT_EQ(upload.resources.size(), 1u);
  const SpanView& span = upload.resources[0].spans[1];
  EXPECT_EQ(span.trace_id, std::string(15, '\0') + '\2');
  EXPECT_EQ(span.span_id, std::string(7, '\0') + '\2');
  EXPECT_EQ(span.parent_span_id, "12345678");
  EXPECT_EQ(span.name, "GET");
  EXPECT_EQ(span.kind, 2u);
  EXPECT_EQ(span.status, 2u);
  EXPECT_EQ(span.start_unix_nanos, 1000u);
  EXPECT_EQ(span.end_unix_nanos, 3000u);
  Span parsed;
  EXPECT_TRUE(parsed.ParseFromArray(span.bytes.data(), static_cast<int>(span.bytes.size())));
}

TEST(Upload, LeavesOutAndCountsSpansThatCannotBe) {
  const auto invalid = [](auto change) {
    UploadRequest request = request_of(2);
    change(first_span(request));
    const std::string message = request.SerializeAsString();
    const Upload upload = decode_upload(message).value();
    EXPECT_EQ(upload.spans + upload.invalid_spans, 2u);
    EXPECT_EQ(upload.losses.contains("INVALID_SPAN"), upload.invalid_spans != 0);
    return upload.invalid_spans == 1;
  };
  EXPECT_FALSE(invalid([](Span&) {}));
  EXPECT_TRUE(invalid([](Span& s) { s.clear_trace_id(); }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_trace_id(std::string(16, '\0')); }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_span_id("123456789"); }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_parent_span_id("1"); }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_start_time_unix_nano(UINT64_MAX); }));
  // What we do not read ourselves must be readable for those we pass it on to.
  EXPECT_FALSE(invalid([](Span& s) { s.add_events()->set_name("exception"); }));
  EXPECT_TRUE(invalid([](Span& s) { s.add_events()->set_name("\xff"); }));
  EXPECT_TRUE(invalid([](Span& s) { s.add_links()->set_trace_state("\xff"); }));
  EXPECT_TRUE(invalid([](Span& s) {
    auto& list = *s.add_attributes()->mutable_value()->mutable_array_value();
    list.add_values()->set_string_value("\xff");
  }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_kind(static_cast<Span::SpanKind>(77)); }));
  EXPECT_TRUE(invalid([](Span& s) { s.set_trace_state(std::string(kSpanBytesMax, 'x')); }));
  EXPECT_TRUE(invalid([](Span& s) {
    for (size_t i = 0; i < kAttributesMax; ++i) s.add_attributes()->set_key("k");
  }));
}

TEST(Upload, LeavesOutSpansWhoseTextIsNone) {
  // protobuf would not write it: the bytes are patched.
  std::string message = request_of(1).SerializeAsString();
  message[message.find("\xC3\xA9")] = '\xFF';

  EXPECT_EQ(decode_upload(message)->invalid_spans, 1u);
}

TEST(Upload, RefusesWhatIsNoBatch) {
  const auto reason = [](auto change) {
    UploadRequest request = request_of(1);
    change(request);
    const std::string message = request.SerializeAsString();
    const auto upload = decode_upload(message);
    return upload ? std::string() : std::string(upload.error().reason);
  };
  EXPECT_EQ(reason([](UploadRequest&) {}), "");
  EXPECT_EQ(reason([](UploadRequest& r) { r.set_batch(0); }), "MALFORMED_BATCH");
  EXPECT_EQ(reason([](UploadRequest& r) { r.set_session_id("s1"); }), "MALFORMED_BATCH");
  EXPECT_EQ(
      reason([](UploadRequest& r) { r.set_boot_id(std::string(65, 'b')); }), "MALFORMED_BATCH");
  const auto group = [](UploadRequest& r) -> auto& {
    return *r.mutable_traces()->mutable_resource_spans(0);
  };
  EXPECT_EQ(reason([&](UploadRequest& r) { group(r).set_schema_url("\xff"); }), "MALFORMED_BATCH");
  EXPECT_EQ(
      reason([&](UploadRequest& r) {
        group(r).mutable_scope_spans(0)->mutable_scope()->set_name("\xff");
      }),
      "MALFORMED_BATCH");
  EXPECT_EQ(decode_upload("\xff\xff").error().reason, "MALFORMED_BATCH");
}

TEST(Upload, SurvivesEveryTruncationAndEveryChangedByte) {
  const std::string message = request_of(2).SerializeAsString();
  for (size_t size = 0; size < message.size(); ++size)
    (void)decode_upload(std::string(message.data(), size));
  for (size_t i = 0; i < message.size(); ++i)
    for (const int change : {0x01, 0x80, 0xFF}) {
      std::string damaged = message;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      const auto upload = decode_upload(damaged);
      if (!upload) continue;
      std::string traces;
      for (const ResourceView& view : upload->resources) append_traces(view, "", traces);
    }
}

TEST(Upload, KeepsReasonsOfLossToWords) {
  UploadRequest request = request_of(0);
  const auto lose = [&](const std::string& reason, uint64_t count) {
    auto& loss = *request.add_losses();
    loss.set_reason(reason);
    loss.set_count(count);
  };
  lose("RING_FULL", 3);
  lose("RING_FULL", 4);
  lose("'; drop table spans", 5);
  lose(std::string(100, 'A'), 6);
  for (size_t i = 0; i < 2 * kLossesPerBatchMax; ++i) lose("REASON_" + std::to_string(i), 1);
  const std::string message = request.SerializeAsString();

  const Upload upload = decode_upload(message).value();

  EXPECT_EQ(upload.losses.at("RING_FULL"), 7u);
  EXPECT_GE(upload.losses.at("OTHER"), 11u);
  EXPECT_LE(upload.losses.size(), kLossesPerBatchMax + 1);
}

TEST(Upload, StampsWhoSentItOverWhateverTheResourceSays) {
  Resource resource;
  add_attribute(resource, "host.name", "liar");
  add_attribute(resource, "service.name", "cart");
  add_attribute(resource, "sonde.agent.id", "liar");

  const StampedResource stamped = stamp(resource.SerializeAsString(), "agent-1", "web-1").value();

  EXPECT_EQ(stamped.service, "cart");
  Resource parsed;
  ASSERT_TRUE(parsed.ParseFromString(stamped.bytes));
  std::map<std::string, std::string> attributes;
  for (const auto& attribute : parsed.attributes())
    attributes[attribute.key()] += attribute.value().string_value();
  EXPECT_EQ(attributes.at("host.name"), "web-1");
  EXPECT_EQ(attributes.at("sonde.agent.id"), "agent-1");
  EXPECT_EQ(stamp("\xff", "a", "h").error().reason, "MALFORMED_BATCH");
}

TEST(Upload, PassesOnEverythingButTheResourceAndBadSpans) {
  UploadRequest request = request_of(3);
  request.mutable_traces()
      ->mutable_resource_spans(0)
      ->mutable_scope_spans(0)
      ->mutable_spans(1)
      ->clear_span_id();
  const std::string message = request.SerializeAsString();
  const Upload upload = decode_upload(message).value();
  Resource resource;
  add_attribute(resource, "service.name", "stamped");
  std::string traces;

  append_traces(upload.resources[0], resource.SerializeAsString(), traces);
  append_traces(upload.resources[0], resource.SerializeAsString(), traces);

  TracesData data;
  ASSERT_TRUE(data.ParseFromString(traces));
  ASSERT_EQ(data.resource_spans_size(), 2);
  const auto& group = data.resource_spans(1);
  EXPECT_EQ(group.resource().attributes(0).value().string_value(), "stamped");
  EXPECT_EQ(group.schema_url(), "https://opentelemetry.io/schemas/1.44.0");
  EXPECT_EQ(group.scope_spans(0).scope().name(), "sonde");
  ASSERT_EQ(group.scope_spans(0).spans_size(), 2);
  EXPECT_EQ(
      group.scope_spans(0).spans(1).SerializeAsString(),
      request.traces().resource_spans(0).scope_spans(0).spans(2).SerializeAsString());
}

} // namespace
} // namespace controlplane::ingest
