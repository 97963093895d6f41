// gRPC and REST are one server: every RPC answers alike over both, and wrong input is refused with
// its reason.
#include "controlplane/edge/json_writer.h"
#include "controlplane/edge/method_table.h"
#include "controlplane/edge/problem.h"
#include "google/rpc/code.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc_reflection/v1alpha/reflection.pb.h"
#include "sonde/v1/agent_service.pb.h"
#include "sonde/v1/join_token_service.pb.h"
#include "sonde/v1/offset_table_service.pb.h"
#include "sonde/v1/result_service.pb.h"
#include "sonde/v1/sampling_rule_service.pb.h"
#include "sonde/v1/session_service.pb.h"
#include "tests/sonded/scoped_sonded.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

namespace {

namespace json = boost::json;
namespace pb = google::protobuf;
using namespace controlplane; // NOLINT(google-build-using-namespace): what is under test
using sonded_fixture::HttpAnswer;
using sonded_fixture::ScopedSonded;
using testing::HasSubstr;

constexpr char kUnknownId[] = "7d3c4f52-6a44-4b4c-9a39-0c8f8f7f5a11";
constexpr char kSession[] = R"({"selector":{"hosts":"*"},"probes":[{"http":{}}],"ttl":"60s"})";

// One sonded for all tests of this file that do not end it.
ScopedSonded& shared_sonded() {
  static ScopedSonded sonded;
  return sonded;
}

edge::MethodTable all_methods() {
  return edge::MethodTable::from({sonde::v1::GetAgentRequest::descriptor()->file(),
                                  sonde::v1::JoinToken::descriptor()->file(),
                                  sonde::v1::OffsetTable::descriptor()->file(),
                                  sonde::v1::Span::descriptor()->file(),
                                  sonde::v1::SamplingRule::descriptor()->file(),
                                  sonde::v1::GetSessionRequest::descriptor()->file()})
      .value();
}

struct Answer {
  std::string code;   // "OK", "NOT_FOUND", …
  std::string reason; // of an error
  std::string field;  // of an error
  json::value body;   // of a success
};

bool operator==(const Answer& a, const Answer& b) {
  return a.code == b.code && a.reason == b.reason && a.field == b.field && a.body == b.body;
}

std::ostream& operator<<(std::ostream& out, const Answer& answer) {
  return out << answer.code << " " << answer.reason << " " << answer.field << " "
             << json::serialize(answer.body);
}

// What differs between two calls of the same method by nature.
void forget_volatile(json::value& value) {
  static const std::set<std::string> kVolatile{
      "id", "token", "etag", "createTime", "updateTime", "expireTime", "startTime", "endTime"};
  if (value.is_array()) {
    for (auto& element : value.get_array()) forget_volatile(element);
  } else if (value.is_object()) {
    for (auto& [key, member] : value.get_object()) {
      if (kVolatile.contains(std::string(key)) && member.is_string())
        member = "…";
      else
        forget_volatile(member);
    }
  }
}

Answer over_grpc(
    const ScopedSonded& sonded, const edge::Method& method, const pb::Message& request,
    const std::string& role) {
  grpc::GenericStub stub(sonded.channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  if (!role.empty()) context.AddMetadata("authorization", ScopedSonded::bearer(role));
  grpc::ByteBuffer sent, received;
  bool own = false;
  EXPECT_TRUE(
      (grpc::GenericSerialize<grpc::ProtoBufferWriter, pb::Message>(request, &sent, &own).ok()));
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, method.grpc_path, sent, &queue);
  grpc::Status status;
  call->StartCall();
  call->Finish(&received, &status, &context);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);

  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  Answer answer{
      google::rpc::Code_Name(static_cast<google::rpc::Code>(status.error_code())), "", "", nullptr};
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&info)) answer.reason = info.reason();
    if (detail.UnpackTo(&bad)) answer.field = bad.field_violations(0).field();
  }
  if (!status.ok()) return answer;
  std::unique_ptr<pb::Message> response(method.response->New());
  EXPECT_TRUE(
      (grpc::GenericDeserialize<grpc::ProtoBufferReader, pb::Message>(&received, response.get())
           .ok()));
  answer.body = json::parse(edge::write_json(*response).value());
  forget_volatile(answer.body);
  return answer;
}

std::string field_text(const pb::Message& message, const std::string& path) {
  auto dot = path.find('.');
  const auto* field = message.GetDescriptor()->FindFieldByName(path.substr(0, dot));
  const auto& reflection = *message.GetReflection();
  if (dot == std::string::npos) return reflection.GetString(message, field);
  return field_text(reflection.GetMessage(message, field), path.substr(dot + 1));
}

// What a client makes of a request message by a binding: path, query and body.
HttpAnswer send_rest(
    const ScopedSonded& sonded, const edge::HttpBinding& binding, const pb::Message& request,
    const std::string& role) {
  auto target = binding.path.text();
  std::set<std::string> used;
  for (const auto& field : binding.path.fields()) {
    auto variable = "{" + field + "}";
    target.replace(target.find(variable), variable.size(), field_text(request, field));
    used.insert(field.substr(0, field.find('.')));
  }
  auto whole = json::parse(edge::write_json(request).value()).as_object();
  std::string body;
  char separator = '?';
  for (int i = 0; i < request.GetDescriptor()->field_count(); ++i) {
    const auto* field = request.GetDescriptor()->field(i);
    const auto* value = whole.if_contains(field->json_name());
    if (field->name() == binding.body) body = value ? json::serialize(*value) : "{}";
    if (!value || field->name() == binding.body || binding.body == "*" ||
        used.contains(field->name()))
      continue;
    target += fmt::format(
        "{}{}={}", std::exchange(separator, '&'), field->json_name(),
        value->is_string() ? std::string(value->get_string()) : json::serialize(*value));
  }
  if (binding.body == "*") body = json::serialize(whole);
  return sonded.rest(binding.verb, target, body, role);
}

Answer over_rest(
    const ScopedSonded& sonded, const edge::Method& method, const pb::Message& request,
    const std::string& role) {
  const auto& binding = method.bindings.at(0);
  auto http = send_rest(sonded, binding, request, role);
  Answer answer{"OK", "", "", json::parse(http.body)};
  if (http.status == 200) {
    forget_volatile(answer.body);
    return answer;
  }
  EXPECT_EQ(http.headers["content-type"], "application/problem+json");
  auto problem = std::exchange(answer.body, nullptr).as_object();
  answer.code = problem.at("code").as_string();
  answer.reason = problem.at("reason").as_string();
  EXPECT_EQ(problem.at("status").to_number<unsigned>(), http.status);
  if (const auto* errors = problem.if_contains("errors")) {
    answer.field = errors->at(0).at("field").as_string();
    bool below = !binding.body.empty() && binding.body != "*";
    if (below &&
        method.request->GetDescriptor()
            ->FindFieldByName(binding.body)
            ->message_type()
            ->FindFieldByCamelcaseName(answer.field.substr(0, answer.field.find_first_of(".["))))
      answer.field = method.request->GetDescriptor()->FindFieldByName(binding.body)->json_name() +
                     "." + answer.field;
  }
  return answer;
}

// A request that goes a long way in: ids that exist (`session_id`) or not, and bodies that are
// right.
std::unique_ptr<pb::Message>
sample_request(const edge::Method& method, const std::string& session_id) {
  static const std::map<std::string, std::string> kBodies{
      {"CreateSession",
       R"(session {selector {hosts: "*"} probes {http {}} ttl {seconds: 60}} validate_only: true)"},
      {"UpdateSession", R"(session {display_name: "renamed"} update_mask {paths: "display_name"})"},
      {"ExtendSession", R"(ttl {seconds: 120})"},
      {"CreateSamplingRule", R"(sampling_rule {selector {hosts: "*"} ratio: 0.5})"},
      {"UpdateSamplingRule", R"(sampling_rule {disabled: true} update_mask {paths: "disabled"})"},
      {"CreateOffsetTable",
       R"(offset_table {go_version: "go1.22.1" architecture: "amd64" fields {type: "runtime.g" field: "goid" offset_bytes: 152 size_bytes: 8}} validate_only: true)"},
      {"CreateJoinToken", R"(join_token {labels {key: "env" value: "test"} ttl {seconds: 60}})"},
      {"UpdateAgent",
       R"(agent {assigned_labels {key: "env" value: "test"}} update_mask {paths: "assigned_labels"})"},
      {"GetTrace", R"(trace_id: "0123456789abcdef0123456789abcdef")"}};
  std::unique_ptr<pb::Message> request(method.request->New());
  const auto& name = method.descriptor->name();
  if (kBodies.contains(name)) {
    EXPECT_TRUE(pb::TextFormat::ParseFromString(kBodies.at(name), request.get())) << name;
  }
  for (const auto& path : method.bindings.at(0).path.fields()) {
    if (path == "trace_id") continue;
    pb::Message* message = request.get();
    auto leaf = path;
    if (auto dot = path.find('.'); dot != std::string::npos) {
      message = message->GetReflection()->MutableMessage(
          message, message->GetDescriptor()->FindFieldByName(path.substr(0, dot)));
      leaf = path.substr(dot + 1);
    }
    bool of_session = path.starts_with("session") && name != "DeleteSession";
    message->GetReflection()->SetString(
        message, message->GetDescriptor()->FindFieldByName(leaf),
        of_session ? session_id : kUnknownId);
  }
  return request;
}

TEST(Sonded, AnswersEveryUnaryRpcAlikeOverGrpcAndRest) {
  auto& sonded = shared_sonded();
  auto created = sonded.rest("POST", "/v1/sessions", kSession);
  ASSERT_EQ(created.status, 200U) << created.body;
  std::string session_id(json::parse(created.body).at("id").as_string());
  auto table = all_methods();
  int compared = 0, succeeded = 0;
  for (const auto& method : table.methods()) {
    if (method.streams()) continue;
    auto request = sample_request(method, session_id);
    for (const char* role : {"", "viewer", "admin"}) {
      auto grpc = over_grpc(sonded, method, *request, role);
      auto rest = over_rest(sonded, method, *request, role);
      EXPECT_EQ(grpc, rest) << method.grpc_path << " as \"" << role << "\"";
      EXPECT_NE(grpc.code, "UNIMPLEMENTED") << method.grpc_path;
      EXPECT_NE(grpc.code, "INTERNAL") << method.grpc_path;
      if (*role == '\0') {
        EXPECT_EQ(grpc.reason, "AUTHENTICATION_REQUIRED") << method.grpc_path;
      }
      if (grpc.code == "OK") ++succeeded;
      ++compared;
    }
  }
  EXPECT_GE(compared, 3 * 30);
  EXPECT_GE(succeeded, 20);
}

struct BadInput {
  const char* verb;
  const char* target;
  std::string body;
  unsigned status;
  const char* reason;
  const char* field;
};

TEST(Sonded, RefusesBadInputWithItsReasonAndField) {
  auto& sonded = shared_sonded();
  auto with = [](const std::string& rest) {
    return R"({"selector":{"hosts":"*"},"probes":[{"http":{}}])" + rest + "}";
  };
  const std::string deep(100'000, '[');
  for (const auto& [verb, target, body, status, reason, field] : std::vector<BadInput>{
           {"POST", "/v1/sessions", with(R"(,"colour":"red")"), 400, "UNKNOWN_FIELD", "colour"},
           {"POST", "/v1/sessions", with(R"(,"budget":{"cpu":1})"), 400, "UNKNOWN_FIELD",
            "budget.cpu"},
           {"POST", "/v1/sessions?dryRun=true", with(""), 400, "UNKNOWN_FIELD", "dryRun"},
           {"POST", "/v1/sessions", with(R"(,"ttl":300)"), 400, "WRONG_TYPE", "ttl"},
           {"POST", "/v1/sessions", with(R"(,"sampling":{"ratio":"half"})"), 400, "WRONG_TYPE",
            "sampling.ratio"},
           {"POST", "/v1/sessions", with(R"(,"sampling":{"ratio":1.5})"), 400, "RATIO_OUT_OF_RANGE",
            "sampling.ratio"},
           {"POST", "/v1/sessions", R"({"probes":[{"http":{}}]})", 400, "EMPTY_SELECTOR",
            "selector"},
           {"POST", "/v1/sessions", R"({"selector":{"hosts":"*"}})", 400, "PROBES_REQUIRED",
            "probes"},
           {"POST", "/v1/sessions", with(R"(,"ttl":"3601s")"), 400, "TTL_TOO_LONG", "ttl"},
           {"POST", "/v1/sessions", R"({"selector":{"hosts":"*"},"probes":[{"cpuProfile":{}}]})",
            400, "PROBE_UNSUPPORTED", nullptr},
           {"POST", "/v1/sessions", with(R"(,"export":{"otlp":["nowhere"]})"), 400,
            "UNKNOWN_DESTINATION", nullptr},
           {"POST", "/v1/sessions", "{", 400, "INVALID_JSON", nullptr},
           {"POST", "/v1/sessions", deep, 400, "INVALID_JSON", nullptr},
           {"POST", "/v1/sessions", std::string(3 << 20, ' '), 413, "BODY_TOO_LARGE", nullptr},
           {"GET", "/v1/sessions?pageToken=x", "", 400, "INVALID_PAGE_TOKEN", "pageToken"},
           {"GET", "/v1/sessions?filter=colour%3D1", "", 400, "INVALID_FILTER", "filter"},
           {"GET", "/v1/sessions?pageSize=-1", "", 400, "PAGE_SIZE_NEGATIVE", nullptr},
           {"GET", "/v1/sessions/no-uuid", "", 404, "SESSION_NOT_FOUND", nullptr},
           {"GET", "/v1/sessions/%00", "", 400, "WRONG_TYPE", nullptr},
           {"GET", "/v2/sessions", "", 404, "NO_SUCH_PATH", nullptr},
           {"PUT", "/v1/sessions", "{}", 405, "METHOD_NOT_ALLOWED", nullptr},
           {"DELETE", "/v1/sessions/no-uuid", R"({"etag":"1"})", 400, "UNEXPECTED_BODY",
            nullptr}}) {
    auto answer = sonded.rest(verb, target, body);
    auto problem = json::parse(answer.body).as_object();
    auto shown = fmt::format("{} {} {}: {}", verb, target, body.substr(0, 80), answer.body);
    EXPECT_EQ(answer.status, status) << shown;
    EXPECT_EQ(problem.at("reason"), reason) << shown;
    if (field) {
      EXPECT_EQ(problem.at("errors").at(0).at("field"), field) << shown;
    }
    EXPECT_FALSE(problem.at("detail").as_string().empty()) << shown;
  }
  EXPECT_EQ(sonded.rest("GET", "/readyz").status, 200U);
}

TEST(Sonded, AHeaderOfTenMegabytesIsRefusedInBoundedMemory) {
  auto& sonded = shared_sonded();
  auto before = sonded.resident_bytes();
  std::string big;
  big.resize(10'000'000, 'a');

  auto answer = sonded.raw("GET /v1/sessions HTTP/1.1\r\nHost: x\r\nX-Big: " + big + "\r\n\r\n");

  EXPECT_THAT(answer, testing::StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(answer, HasSubstr("HEADER_TOO_LARGE"));
  EXPECT_LT(sonded.resident_bytes(), before + 4'000'000);
  EXPECT_THAT(
      sonded.metrics().body, HasSubstr(R"(sonde_edge_refused_total{reason="HEADER_TOO_LARGE"})"));
}

TEST(Sonded, WhatIsNotHttpIsToldSo) {
  EXPECT_THAT(shared_sonded().raw("\x16\x03\x01 hello\r\n\r\n"), HasSubstr("INVALID_HTTP"));
}

TEST(Sonded, ASessionThatMatchesNothingIsCreatedAndSaysSo) {
  auto& sonded = shared_sonded();

  auto dry = sonded.rest("POST", "/v1/sessions?validateOnly=true", kSession);
  auto created = sonded.rest("POST", "/v1/sessions", kSession);

  EXPECT_FALSE(json::parse(dry.body).as_object().contains("id"));
  EXPECT_THAT(dry.body, HasSubstr("no host matches the selector"));
  EXPECT_EQ(created.status, 200U);
  EXPECT_THAT(created.body, HasSubstr("no host matches the selector"));
}

TEST(Sonded, ARepeatedRequestIdAnswersWithTheSameSession) {
  auto& sonded = shared_sonded();
  const std::string target = "/v1/sessions?requestId=9f1b4c55-2f62-4ba3-a5ea-1d2ac1fb9f2f";

  auto first = json::parse(sonded.rest("POST", target, kSession).body);
  auto again = json::parse(sonded.rest("POST", target, kSession).body);
  auto other =
      sonded.rest("POST", target, R"({"selector":{"hosts":"env=x"},"probes":[{"http":{}}]})");

  EXPECT_EQ(first.at("id"), again.at("id"));
  EXPECT_EQ(other.status, 409U) << other.body;
}

TEST(Sonded, AStaleEtagIsAborted) {
  auto& sonded = shared_sonded();
  auto id = std::string(
      json::parse(sonded.rest("POST", "/v1/sessions", kSession).body).at("id").as_string());
  ASSERT_EQ(sonded.rest("PATCH", "/v1/sessions/" + id, R"({"displayName":"one"})").status, 200U);

  auto stale = sonded.rest("PATCH", "/v1/sessions/" + id, R"({"displayName":"two","etag":"1"})");

  EXPECT_EQ(stale.status, 409U);
  EXPECT_THAT(stale.body, HasSubstr("ETAG_MISMATCH"));
}

TEST(Sonded, ATailIsServerSentEventsThatEndWithTheSession) {
  auto& sonded = shared_sonded();
  auto id = std::string(
      json::parse(sonded.rest("POST", "/v1/sessions", kSession).body).at("id").as_string());
  std::string stream;
  std::jthread reader([&] {
    stream = sonded.raw(
        "GET /v1/sessions/" + id + ":tail HTTP/1.1\r\nHost: x\r\nAuthorization: " +
        ScopedSonded::bearer("viewer") + "\r\n\r\n");
  });
  ASSERT_EQ(sonded.rest("POST", "/v1/sessions/" + id + ":cancel", "{}").status, 200U);
  reader.join();

  EXPECT_THAT(stream, HasSubstr("Content-Type: text/event-stream"));
  EXPECT_THAT(stream, HasSubstr("retry: 2000"));
  EXPECT_THAT(stream, HasSubstr("event: session\n"));
  EXPECT_THAT(stream, HasSubstr("CANCELLED"));
  EXPECT_THAT(stream, testing::EndsWith("0\r\n\r\n"));
}

TEST(Sonded, DescribesItselfToViewersOnly) {
  auto& sonded = shared_sonded();

  EXPECT_EQ(sonded.rest("GET", "/openapi.json", "", "").status, 401U);
  auto document = sonded.rest("GET", "/openapi.json", "", "viewer");
  EXPECT_EQ(document.status, 200U);
  EXPECT_EQ(json::parse(document.body).at("openapi"), "3.1.0");
}

// One question to a bidirectional stream; the answer, or the status when there is none.
grpc::Status ask_reflection(const std::string& role, std::string& answer) {
  grpc::GenericStub stub(shared_sonded().channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  if (!role.empty()) context.AddMetadata("authorization", ScopedSonded::bearer(role));
  grpc::CompletionQueue queue;
  auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  auto call = stub.PrepareCall(
      &context, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &queue);
  call->StartCall(nullptr);
  next();
  grpc::reflection::v1alpha::ServerReflectionRequest request;
  request.set_list_services("");
  grpc::ByteBuffer bytes;
  bool own = false;
  EXPECT_TRUE(
      (grpc::GenericSerialize<grpc::ProtoBufferWriter, pb::Message>(request, &bytes, &own).ok()));
  call->Write(bytes, nullptr);
  next();
  grpc::ByteBuffer received;
  call->Read(&received, nullptr);
  if (next()) {
    grpc::reflection::v1alpha::ServerReflectionResponse response;
    EXPECT_TRUE((
        grpc::GenericDeserialize<grpc::ProtoBufferReader, pb::Message>(&received, &response).ok()));
    answer = response.ShortDebugString();
    call->WritesDone(nullptr);
    next();
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  return status;
}

TEST(Sonded, ReflectsForViewersOnly) {
  std::string answer;

  EXPECT_EQ(ask_reflection("", answer).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(answer, "");
  EXPECT_TRUE(ask_reflection("viewer", answer).ok());
  EXPECT_THAT(answer, HasSubstr("sonde.v1.SessionService"));
}

TEST(Sonded, WritesEveryDecisionIntoTheAuditLog) {
  auto& sonded = shared_sonded();
  auto id = std::string(
      json::parse(sonded.rest("POST", "/v1/sessions", kSession).body).at("id").as_string());
  ASSERT_EQ(sonded.rest("POST", "/v1/sessions", kSession, "viewer").status, 403U);

  auto count = [&](const std::string& where) {
    auto rows = sonded.pool().transaction([&](store::Transaction& tx) {
      return tx.exec(
          "select count(*) as n from audit_events where method = 'SessionService/CreateSession' "
          "and " +
          where);
    });
    return rows->front().integer("n");
  };
  EXPECT_EQ(
      count("decision = 'ALLOWED' and resource = 'sessions/" + id + "' and actor = 'admin'"), 1);
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const std::string denied =
      "decision = 'DENIED' and actor = 'viewer' and reason = 'PERMISSION_MISSING'";
  while (count(denied) == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_GE(count(denied), 1);
}

TEST(Sonded, EndsInOrderOnSigterm) {
  ScopedSonded sonded({"--drain-seconds", "2"});
  auto id = std::string(
      json::parse(sonded.rest("POST", "/v1/sessions", kSession).body).at("id").as_string());
  std::string stream;
  std::jthread reader([&] {
    stream = sonded.raw(
        "GET /v1/sessions/" + id + ":tail HTTP/1.1\r\nHost: x\r\nAuthorization: " +
        ScopedSonded::bearer("viewer") + "\r\n\r\n");
  });
  auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (sonded.metrics().body.find("sonde_edge_streams 1") == std::string::npos &&
         std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));

  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(sonded.stop(), 0) << sonded.log();
  reader.join();

  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
  EXPECT_THAT(stream, HasSubstr("SHUTTING_DOWN"));
}

} // namespace
