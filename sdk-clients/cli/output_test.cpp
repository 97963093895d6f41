#include "sdk-clients/cli/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sonde/v1/result_service.pb.h>
#include <sonde/v1/session.pb.h>

namespace cli {
namespace {

using testing::HasSubstr;

TEST(Output, IsProtobufsCanonicalJson) {
  sonde::v1::Session session;
  session.set_id("s1");
  session.mutable_ttl()->set_seconds(300);
  session.set_state(sonde::v1::Session::ACTIVE);

  EXPECT_EQ(
      format_message(session, Format::kJson),
      "{\n  \"id\": \"s1\",\n  \"ttl\": \"300s\",\n  \"state\": \"ACTIVE\"\n}\n");
  EXPECT_EQ(format_message(session, Format::kYaml), "id: s1\nttl: 300s\nstate: ACTIVE\n");
}

TEST(Output, TracesAreOtlpJsonWithHexadecimalIdsAndNumericEnums) {
  sonde::v1::Trace trace;
  auto* span = trace.add_resource_spans()->add_scope_spans()->add_spans();
  span->set_trace_id(std::string(15, '\0') + '\x01');
  span->set_span_id("\xff\xee\xdd\xcc\xbb\xaa\x99\x88");
  span->set_kind(opentelemetry::proto::trace::v1::Span::SPAN_KIND_SERVER);

  const auto text = format_json_line(trace);

  EXPECT_THAT(text, HasSubstr("\"traceId\":\"00000000000000000000000000000001\""));
  EXPECT_THAT(text, HasSubstr("\"spanId\":\"ffeeddccbbaa9988\""));
  EXPECT_THAT(text, HasSubstr("\"kind\":2"));
}

TEST(Output, YamlKeepsStringsThatLookLikeNumbers) {
  sonde::v1::Session session;
  session.set_display_name("007");

  EXPECT_EQ(format_message(session, Format::kYaml), "displayName: \"007\"\n");
}

} // namespace
} // namespace cli
