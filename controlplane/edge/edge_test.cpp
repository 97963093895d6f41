// What is pure at the edge besides transcoding: errors, permissions, OpenAPI, server-sent events,
// metrics.
#include "controlplane/edge/call_metrics.h"
#include "controlplane/edge/dispatch.h"
#include "controlplane/edge/openapi.h"
#include "controlplane/edge/problem.h"
#include "controlplane/edge/sse.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sonde/v1/result_service.pb.h"
#include "sonde/v1/session_service.pb.h"

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace controlplane::edge {
namespace {

using namespace sonde::v1; // NOLINT(google-build-using-namespace): the messages under test
using base::Code;
using testing::HasSubstr;

base::Error bad_ttl() {
  return base::invalid_argument("TTL_TOO_LONG", "session.ttl: at most 3600 s").at("session.ttl");
}

TEST(Errors, CarryReasonAndFieldOverGrpc) {
  auto status = to_grpc_status(bad_ttl(), "r-1");

  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad;
  ASSERT_TRUE(details.details(0).UnpackTo(&info) && details.details(1).UnpackTo(&bad));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(info.reason(), "TTL_TOO_LONG");
  EXPECT_EQ(info.domain(), "sonde");
  EXPECT_EQ(info.metadata().at("requestId"), "r-1");
  EXPECT_EQ(bad.field_violations(0).field(), "session.ttl");
}

TEST(Errors, AreProblemJsonOverRest) {
  auto problem = to_problem(bad_ttl(), "/v1/sessions", "r-1", "session");

  auto body = boost::json::parse(problem.body).as_object();
  EXPECT_EQ(problem.status, 400U);
  EXPECT_EQ(body.at("status"), 400);
  EXPECT_EQ(body.at("title"), "Invalid argument");
  EXPECT_EQ(body.at("code"), "INVALID_ARGUMENT");
  EXPECT_EQ(body.at("reason"), "TTL_TOO_LONG");
  EXPECT_EQ(body.at("instance"), "/v1/sessions");
  EXPECT_EQ(body.at("requestId"), "r-1");
  EXPECT_EQ(body.at("errors").at(0).at("field"), "ttl") << "as the caller wrote it";
}

TEST(Errors, EveryCodeHasAnHttpStatus) {
  std::map<Code, unsigned> expected{
      {Code::kNotFound, 404},          {Code::kPermissionDenied, 403},
      {Code::kUnauthenticated, 401},   {Code::kAborted, 409},
      {Code::kAlreadyExists, 409},     {Code::kFailedPrecondition, 400},
      {Code::kResourceExhausted, 429}, {Code::kUnavailable, 503},
      {Code::kDeadlineExceeded, 504},  {Code::kInternal, 500},
      {Code::kUnimplemented, 501}};
  for (auto [code, status] : expected) EXPECT_EQ(http_status({code, "X", "", {}}), status);
  EXPECT_EQ(http_status({Code::kInvalidArgument, "HEADER_TOO_LARGE", "", {}}), 431U);
  EXPECT_EQ(http_status({Code::kUnimplemented, "METHOD_NOT_ALLOWED", "", {}}), 405U);
}

class DispatchTest : public testing::Test {
 protected:
  DispatchTest()
      : authenticator_(
            [](std::string_view token) -> base::Result<model::Caller> {
              model::Caller caller;
              caller.name = token;
              if (token == "viewer")
                caller.role = model::Role::kViewer;
              else if (token == "operator")
                caller.role = model::Role::kOperator;
              else
                return base::Error{Code::kUnauthenticated, "INVALID_TOKEN", "unknown", {}};
              return caller;
            },
            [](std::string_view) -> base::Result<model::Caller> {
              return base::Error{Code::kUnauthenticated, "CERTIFICATE_UNTRUSTED", "unknown", {}};
            }),
        dispatch_(
            authenticator_,
            [this](const Decision& decision) {
              audit_.push_back(
                  decision.caller.name + " " + decision.method.descriptor->name() + " " +
                  (decision.error ? std::string(decision.error->reason) : "OK"));
            },
            metrics_) {
    dispatch_.add<StopSessionRequest, Session>(
        "sonde.v1.SessionService.StopSession",
        [](const model::Caller& caller,
           const StopSessionRequest& request) -> base::Result<Session> {
          Session session;
          session.set_id(request.session_id());
          session.set_created_by(caller.name);
          return session;
        });
    EXPECT_TRUE(dispatch_.finish().ok());
  }

  base::Result<MessagePtr> stop(const std::string& authorization) {
    Credentials credentials{authorization, "", "127.0.0.1:1"};
    const auto* method = dispatch_.methods().find("/sonde.v1.SessionService/StopSession");
    return dispatch_
        .call(
            {*method, credentials, "rest",
             [this]() -> base::Result<MessagePtr> {
               ++decoded_;
               auto request = std::make_unique<StopSessionRequest>();
               request->set_session_id("7");
               return request;
             }})
        .result;
  }

  Authenticator authenticator_;
  CallMetrics metrics_;
  std::vector<std::string> audit_;
  Dispatch dispatch_;
  int decoded_ = 0;
};

TEST_F(DispatchTest, RunsTheUseCaseAsTheCallerOfTheToken) {
  auto response = stop("Bearer operator");

  ASSERT_TRUE(response.ok());
  EXPECT_EQ(static_cast<Session&>(**response).created_by(), "operator");
  EXPECT_THAT(audit_, testing::ElementsAre("operator StopSession OK"));
}

TEST_F(DispatchTest, DeniesBeforeItDecodesAndAuditsTheDenial) {
  EXPECT_EQ(stop("Bearer viewer").error().reason, "PERMISSION_MISSING");
  EXPECT_EQ(stop("Bearer nobody").error().reason, "INVALID_TOKEN");
  EXPECT_EQ(stop("Basic b3A6").error().reason, "INVALID_AUTHORIZATION");
  EXPECT_EQ(stop("").error().reason, "AUTHENTICATION_REQUIRED");

  EXPECT_EQ(decoded_, 0);
  EXPECT_THAT(
      audit_, testing::ElementsAre(
                  "viewer StopSession PERMISSION_MISSING", "unknown StopSession INVALID_TOKEN",
                  "unknown StopSession INVALID_AUTHORIZATION",
                  "anonymous StopSession AUTHENTICATION_REQUIRED"));
}

TEST_F(DispatchTest, CountsCallsByHowTheyEnded) {
  ASSERT_TRUE(stop("Bearer operator").ok());
  ASSERT_FALSE(stop("").ok());

  MetricsWriter writer;
  metrics_.write(writer);
  auto text = writer.take();
  EXPECT_THAT(
      text,
      HasSubstr(R"(sonde_edge_calls_total{method="StopSession",transport="rest",code="OK"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(code="UNAUTHENTICATED"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(sonde_edge_call_duration_seconds_count{method="StopSession"} 2)"));
}

TEST_F(DispatchTest, DescribesItsMethodsInOpenApi) {
  auto text = open_api_document(dispatch_.methods());

  ASSERT_TRUE(text.ok()) << text.error().message;
  auto document = boost::json::parse(*text).as_object();
  EXPECT_EQ(document.at("openapi"), "3.1.0");
  const auto& create = document.at("paths").at("/v1/sessions").at("post");
  EXPECT_EQ(create.at("operationId"), "SessionService_CreateSession");
  EXPECT_EQ(create.at("x-sonde-permission"), "OPERATE");
  EXPECT_THAT(
      std::string(create.at("description").as_string()), HasSubstr("Validates, stores and starts"));
  EXPECT_TRUE(
      document.at("paths").at("/v1/sessions/{session_id}:stop").as_object().contains("post"));
  const auto& session = document.at("components").at("schemas").at("Session");
  EXPECT_EQ(session.at("properties").at("ttl").at("writeOnly"), true);
  EXPECT_EQ(session.at("properties").at("state").at("$ref"), "#/components/schemas/Session.State");
}

// Every $ref of the document leads somewhere.
void collect_references(const boost::json::value& value, std::set<std::string>& references) {
  if (value.is_array()) {
    for (const auto& element : value.get_array()) collect_references(element, references);
  } else if (value.is_object()) {
    for (const auto& [key, element] : value.get_object()) {
      if (key == "$ref") references.insert(std::string(element.as_string()));
      collect_references(element, references);
    }
  }
}

TEST_F(DispatchTest, OpenApiHasNoDanglingReference) {
  auto document = boost::json::parse(*open_api_document(dispatch_.methods()));

  std::set<std::string> references;
  collect_references(document, references);

  EXPECT_GT(references.size(), 10U);
  const std::string prefix = "#/components/schemas/";
  for (const auto& reference : references) {
    ASSERT_TRUE(reference.starts_with(prefix)) << reference;
    EXPECT_TRUE(document.at("components")
                    .at("schemas")
                    .as_object()
                    .contains(reference.substr(prefix.size())))
        << reference;
  }
}

TEST(ServerSentEvents, AreFramedWithIdNameAndOneLineOfData) {
  TailSessionResponse event;
  event.set_event_id("42");
  event.mutable_span()->set_name("GET\n/");

  EXPECT_EQ(
      *sse_event(event),
      "id: 42\nevent: span\ndata: {\"eventId\":\"42\",\"span\":{\"name\":\"GET\\n/\"}}\n\n");
  EXPECT_EQ(sse_retry(std::chrono::milliseconds(2000)), "retry: 2000\n\n");
  EXPECT_EQ(sse_keep_alive().front(), ':');
}

TEST(ServerSentEvents, DoNotLetAnIdBeginAnotherField) {
  TailSessionResponse event;
  event.set_event_id("1\ndata: forged");

  EXPECT_THAT(*sse_event(event), testing::StartsWith("data: "));
}

TEST(Metrics, EscapeLabels) {
  MetricsWriter writer;
  writer.family("x_total", "counter", "X.");
  writer.sample({{"reason", "a\"b\\c\nd"}}, 3);

  EXPECT_EQ(
      writer.take(),
      "# HELP x_total X.\n# TYPE x_total counter\nx_total{reason=\"a\\\"b\\\\c\\nd\"} 3\n");
}

} // namespace
} // namespace controlplane::edge
