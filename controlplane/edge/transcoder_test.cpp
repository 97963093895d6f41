#include "controlplane/edge/transcoder.h"

#include "controlplane/edge/descriptors.h"
#include "sonde/v1/agent_control_service.pb.h"
#include "sonde/v1/agent_results_service.pb.h"
#include "sonde/v1/agent_service.pb.h"
#include "sonde/v1/enrollment_service.pb.h"
#include "sonde/v1/join_token_service.pb.h"
#include "sonde/v1/offset_table_service.pb.h"
#include "sonde/v1/result_service.pb.h"
#include "sonde/v1/sampling_rule_service.pb.h"
#include "sonde/v1/session_service.pb.h"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

namespace controlplane::edge {
namespace {

using namespace sonde::v1; // NOLINT(google-build-using-namespace): the messages under test
using testing::HasSubstr;

MethodTable all_methods() {
  auto table = MethodTable::from(
      {SessionAssignment::descriptor()->file(), UploadRequest::descriptor()->file(),
       GetAgentRequest::descriptor()->file(), EnrollRequest::descriptor()->file(),
       JoinToken::descriptor()->file(), OffsetTable::descriptor()->file(),
       Span::descriptor()->file(), SamplingRule::descriptor()->file(),
       GetSessionRequest::descriptor()->file()});
  EXPECT_TRUE(table.ok());
  return *std::move(table);
}

template <class Message>
base::Result<Message> transcode(
    std::string_view verb, std::string_view path, std::string_view query, std::string_view body) {
  static const auto* table = new MethodTable(all_methods());
  auto route = TRY(table->route(verb, path));
  auto request = TRY(to_request(route, query, body));
  EXPECT_EQ(request->GetDescriptor(), Message::descriptor());
  return static_cast<Message&>(*request);
}

void expect_error(
    std::string_view body, std::string_view reason, std::string_view field,
    std::string_view query = "") {
  auto request = transcode<CreateSessionRequest>("POST", "/v1/sessions", query, body);
  ASSERT_FALSE(request.ok()) << body;
  EXPECT_EQ(request.error().code, base::Code::kInvalidArgument) << body;
  EXPECT_EQ(request.error().reason, reason) << body;
  EXPECT_EQ(request.error().field, field) << body << request.error().message;
}

TEST(Transcoder, EveryBindingOfEveryMethodReachesItsMethodWithItsFields) {
  auto table = all_methods();
  size_t bindings = 0;
  for (const auto& method : table.methods()) {
    for (const auto& binding : method.bindings) {
      ++bindings;
      std::string url; // the template with its variables filled in
      bool in_variable = false;
      for (char c : binding.path.text()) {
        if (c == '{') url += "value%201";
        if (c == '{' || c == '}')
          in_variable = c == '{';
        else if (!in_variable)
          url += c;
      }
      auto route = table.route(binding.verb, url);
      ASSERT_TRUE(route.ok()) << binding.verb << " " << url << ": " << route.error().message;
      EXPECT_EQ(route->method, &method) << url;
      EXPECT_EQ(route->binding, &binding) << url;
      for (const auto& capture : route->captures) EXPECT_EQ(capture.value, "value 1");
      auto request = to_request(*route, "", "");
      ASSERT_TRUE(request.ok()) << url << ": " << request.error().message;
      EXPECT_EQ((*request)->GetDescriptor(), method.descriptor->input_type());
      bool has_variable = url.find("value") != std::string::npos;
      EXPECT_EQ((*request)->ByteSizeLong() > 0, has_variable) << url;
    }
  }
  EXPECT_GE(bindings, 33U);
}

TEST(Transcoder, PathsThatNoMethodHasAreNotFoundAndOtherVerbsAreNamed) {
  auto table = all_methods();

  EXPECT_EQ(table.route("GET", "/v1/sessionz").error().reason, "NO_SUCH_PATH");
  EXPECT_EQ(table.route("POST", "/v1/sessions/1:explode").error().reason, "NO_SUCH_PATH");
  EXPECT_EQ(table.route("GET", "/v1/sessions/1/2/3").error().reason, "NO_SUCH_PATH");
  EXPECT_EQ(table.route("GET", "/v1/sessions/%zz").error().reason, "INVALID_ESCAPE");
  EXPECT_EQ(table.route("GET", "").error().reason, "INVALID_PATH");
  EXPECT_EQ(table.route("PUT", "/v1/sessions").error().reason, "METHOD_NOT_ALLOWED");
  EXPECT_EQ(table.allowed("/v1/sessions"), "GET, POST");
  EXPECT_EQ(table.allowed("/v1/sessions/1"), "DELETE, GET, PATCH");
}

TEST(Transcoder, TheBodyIsTheFieldThatTheBindingNames) {
  auto request = transcode<CreateSessionRequest>(
      "POST", "/v1/sessions", "validateOnly=true&requestId=a%2Bb",
      R"({"displayName":"x","selector":{"hosts":"*","pids":[1,2]},"probes":[{"http":{"side":"SERVER"}}],
          "sampling":{"ratio":0.1,"keepSlowerThan":"0.100s"},"ttl":"300s"})");

  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_TRUE(request->validate_only());
  EXPECT_EQ(request->request_id(), "a+b");
  EXPECT_EQ(request->session().selector().pids_size(), 2);
  EXPECT_EQ(request->session().probes(0).http().side(), HttpProbe::SERVER);
  EXPECT_EQ(request->session().sampling().keep_slower_than().nanos(), 100'000'000);
  EXPECT_EQ(request->session().ttl().seconds(), 300);
}

TEST(Transcoder, TheWholeBodyIsTheRequestAndThePathWins) {
  auto request = transcode<ExtendSessionRequest>(
      "POST", "/v1/sessions/7:extend", "", R"({"sessionId":"8","ttl":"60s"})");

  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->session_id(), "7");
  EXPECT_EQ(request->ttl().seconds(), 60);
}

TEST(Transcoder, NestedPathFieldsGoIntoTheBodysMessage) {
  auto request = transcode<UpdateSessionRequest>(
      "PATCH", "/v1/sessions/7", "updateMask=displayName,sampling.spansPerSecond",
      R"({"displayName":"x"})");

  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->session().id(), "7");
  EXPECT_EQ(request->session().display_name(), "x");
  EXPECT_EQ(request->update_mask().paths(0), "display_name");
  EXPECT_EQ(request->update_mask().paths(1), "sampling.spans_per_second");
}

TEST(Transcoder, FieldMasksAreNamesInEitherSpelling) {
  auto mask = [](const std::string& text) {
    return transcode<UpdateSessionRequest>("PATCH", "/v1/sessions/7", "updateMask=" + text, "");
  };

  EXPECT_EQ(mask("display_name,budget.cpuFraction")->update_mask().paths_size(), 2);
  EXPECT_EQ(mask("")->update_mask().paths_size(), 0);
  for (const char* wrong : {"a__b", "a,", ",a", "a..b", "A", "a%01b", "1a", "a-b"})
    EXPECT_EQ(mask(wrong).error().reason, "WRONG_TYPE") << wrong;
}

TEST(Transcoder, AdditionalBindingsAndQueryParameters) {
  auto all = transcode<ListProcessesRequest>(
      "GET", "/v1/processes", "pageSize=5&filter=service%3D%22a+b%22", "");
  auto of_agent =
      transcode<ListProcessesRequest>("GET", "/v1/agents/9/processes", "page_token=t", "");

  ASSERT_TRUE(all.ok() && of_agent.ok());
  EXPECT_EQ(all->page_size(), 5);
  EXPECT_EQ(all->filter(), "service=\"a b\"");
  EXPECT_EQ(of_agent->agent_id(), "9");
  EXPECT_EQ(of_agent->page_token(), "t");
}

TEST(Transcoder, UnknownFieldsAreRefusedWithTheirPath) {
  expect_error(R"({"selectr":{}})", "UNKNOWN_FIELD", "session.selectr");
  expect_error(R"({"probes":[{"http":{}},{"htp":{}}]})", "UNKNOWN_FIELD", "session.probes[1].htp");
  expect_error("", "UNKNOWN_FIELD", "validate", "validate=true");
  expect_error("", "UNKNOWN_FIELD", "session.displayName", "session.displayName=x");
  expect_error("", "REPEATED_PARAMETER", "requestId", "requestId=1&requestId=2");
}

TEST(Transcoder, WrongTypesAreRefusedWithTheirPath) {
  expect_error(R"({"selector":{"maxHosts":"abc"}})", "WRONG_TYPE", "session.selector.maxHosts");
  expect_error(R"({"selector":{"maxHosts":1.5}})", "WRONG_TYPE", "session.selector.maxHosts");
  expect_error(
      R"({"selector":{"maxHosts":3000000000}})", "WRONG_TYPE", "session.selector.maxHosts");
  expect_error(R"({"selector":{"hosts":5}})", "WRONG_TYPE", "session.selector.hosts");
  expect_error(R"({"selector":{"hosts":"a\u0000b"}})", "WRONG_TYPE", "session.selector.hosts");
  expect_error(R"({"selector":"env=prod"})", "WRONG_TYPE", "session.selector");
  expect_error(R"({"selector":{"pids":[1,[2]]}})", "WRONG_TYPE", "session.selector.pids[1]");
  expect_error(R"({"selector":{"pids":[-1]}})", "WRONG_TYPE", "session.selector.pids[0]");
  expect_error(R"({"probes":{"http":{}}})", "WRONG_TYPE", "session.probes");
  expect_error(R"({"probes":[null]})", "WRONG_TYPE", "session.probes[0]");
  expect_error(
      R"({"probes":[{"http":{"route":"true"}}]})", "WRONG_TYPE", "session.probes[0].http.route");
  expect_error(
      R"({"probes":[{"http":{"side":"FOO"}}]})", "WRONG_TYPE", "session.probes[0].http.side");
  expect_error(R"({"sampling":{"ratio":true}})", "WRONG_TYPE", "session.sampling.ratio");
  expect_error(R"({"ttl":"5m"})", "WRONG_TYPE", "session.ttl");
  expect_error(R"({"ttl":300})", "WRONG_TYPE", "session.ttl");
  expect_error(R"({"expireTime":"yesterday"})", "WRONG_TYPE", "session.expireTime");
  expect_error(R"([])", "WRONG_TYPE", "session");
  expect_error("", "WRONG_TYPE", "validateOnly", "validateOnly=yes");
  expect_error("", "WRONG_TYPE", "requestId", "requestId=%ff");
  expect_error("", "WRONG_TYPE", "requestId", "requestId=a%00b");
}

TEST(Transcoder, TheMessageSaysWhatWouldFit) {
  auto request = transcode<CreateSessionRequest>("POST", "/v1/sessions", "", R"({"ttl":"5m"})");

  ASSERT_FALSE(request.ok());
  EXPECT_THAT(
      request.error().message, HasSubstr("session.ttl: \"5m\" is not a duration in seconds"));
}

TEST(Transcoder, BodiesThatAreNotJsonAreRefused) {
  expect_error("{\"displayName\":", "INVALID_JSON", "");
  expect_error("{} trailing", "INVALID_JSON", "");
  expect_error(std::string(10'000, '['), "INVALID_JSON", "");
  expect_error("{\"displayName\":\"\xff\"}", "INVALID_JSON", "");
  expect_error(
      R"({"ttl":"5s","expireTime":"2026-01-01T00:00:00Z"})", "ONEOF_CONFLICT",
      "session.expireTime");
  EXPECT_EQ(
      transcode<GetSessionRequest>("GET", "/v1/sessions/1", "", "{}").error().reason,
      "UNEXPECTED_BODY");
}

TEST(Transcoder, LabelsAreMaps) {
  auto token = transcode<CreateJoinTokenRequest>(
      "POST", "/v1/joinTokens", "", R"({"labels":{"env":"prod"}})");
  auto wrong =
      transcode<CreateJoinTokenRequest>("POST", "/v1/joinTokens", "", R"({"labels":{"env":5}})");

  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->join_token().labels().at("env"), "prod");
  EXPECT_EQ(wrong.error().field, "joinToken.labels.env");
}

TEST(JsonWriter, WritesOtlpIdsAsHexAndEnumsAsIntegers) {
  sonde::v1::Trace traces; // what GetTrace answers
  auto* span = traces.add_resource_spans()->add_scope_spans()->add_spans();
  span->set_trace_id(
      std::string("\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", 16));
  span->set_span_id(std::string("\x00\x01\x02\x03\x04\x05\x06\xff", 8));
  span->set_kind(opentelemetry::proto::trace::v1::Span::SPAN_KIND_SERVER);
  auto* attribute = span->add_attributes();
  attribute->set_key("payload");
  attribute->mutable_value()->set_bytes_value("\xff\xfe");
  HttpBinding binding{"GET", *PathTemplate::parse("/v1/x"), "", ""};

  auto text = to_response_body(binding, traces);

  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, HasSubstr(R"("traceId":"0123456789abcdeffedcba9876543210")"));
  EXPECT_THAT(*text, HasSubstr(R"("spanId":"00010203040506ff")"));
  EXPECT_THAT(*text, HasSubstr(R"("kind":2)"));
  EXPECT_THAT(*text, HasSubstr(R"("bytesValue":"//4=")"));
}

TEST(JsonWriter, ResponseBodyNamesAField) {
  ListSessionsResponse response;
  response.set_next_page_token("t");
  HttpBinding token{"GET", *PathTemplate::parse("/v1/x"), "", "next_page_token"};
  HttpBinding sessions{"GET", *PathTemplate::parse("/v1/x"), "", "sessions"};

  EXPECT_EQ(*to_response_body(token, response), "\"t\"");
  EXPECT_EQ(*to_response_body(sessions, response), "[]");
}

TEST(Contract, EveryMethodNamesAPermission) {
  google::protobuf::FileDescriptorSet files;
  ASSERT_TRUE(
      files.ParseFromArray(descriptor_set().data(), static_cast<int>(descriptor_set().size())));
  auto table = all_methods();
  int methods = 0;
  for (const auto& file : files.file()) {
    if (file.package() != "sonde.v1") continue;
    for (const auto& service : file.service()) {
      for (const auto& method : service.method()) {
        ++methods;
        EXPECT_NE(method.options().GetExtension(permission), Access::PERMISSION_UNSPECIFIED)
            << service.name() << "." << method.name() << " would be denied to everybody";
        EXPECT_TRUE(table.find("/sonde.v1." + service.name() + "/" + method.name()))
            << method.name();
      }
    }
  }
  EXPECT_EQ(static_cast<size_t>(methods), table.methods().size());
}

} // namespace
} // namespace controlplane::edge
