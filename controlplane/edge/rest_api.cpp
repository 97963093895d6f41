#include "controlplane/edge/rest_api.h"

#include "controlplane/edge/openapi.h"
#include "controlplane/edge/problem.h"
#include "controlplane/edge/transcoder.h"

#include <boost/algorithm/string/predicate.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;
using base::Result;

constexpr char kResumeField[] = "after_event_id";

HttpReply text_reply(std::string text) {
  return {200, "text/plain; charset=utf-8", std::move(text), {}};
}

Result<> check_content_type(const HttpRequest& request) {
  if (request.body.empty() || request.content_type.empty()) return {};
  auto type = request.content_type.substr(0, request.content_type.find(';'));
  if (boost::algorithm::iequals(type, "application/json")) return {};
  return base::invalid_argument(
      "UNSUPPORTED_MEDIA_TYPE",
      fmt::format("the body is {}; send JSON with \"Content-Type: application/json\"", type));
}

Result<MessagePtr> decode(const HttpRequest& request, const MethodTable::Route& route) {
  TRY(check_content_type(request));
  return to_request(route, request.query, request.body);
}

// Last-Event-ID is how a browser resumes; it wins over the query it repeats.
void resume(pb::Message& message, const std::string& last_event_id) {
  const auto* field = message.GetDescriptor()->FindFieldByName(kResumeField);
  if (field && !last_event_id.empty())
    message.GetReflection()->SetString(&message, field, last_event_id);
}

} // namespace

HttpReply problem_reply(
    const base::Error& error, std::string_view instance, std::string_view request_id,
    std::string_view body_field) {
  auto problem = to_problem(error, instance, request_id, body_field);
  HttpReply reply{problem.status, "application/problem+json", std::move(problem.body), {}};
  if (reply.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"sonde\"");
  if (reply.status == 429 || reply.status == 503) reply.headers.emplace_back("Retry-After", "1");
  if (!request_id.empty()) reply.headers.emplace_back("X-Request-Id", request_id);
  return reply;
}

std::optional<HttpReply> RestApi::at_once(const HttpRequest& request) {
  if (request.path == "/healthz" && request.verb == "GET") return text_reply("ok\n");
  return std::nullopt;
}

HttpAnswer RestApi::serve(const HttpRequest& request) {
  if (request.path == "/readyz" && request.verb == "GET") return ready(request);
  if (request.path == "/openapi.json" && request.verb == "GET") return open_api(request);
  return call(request);
}

HttpReply RestApi::ready(const HttpRequest& request) const {
  bool all_fine = true;
  boost::json::object checks;
  std::string text;
  for (const auto& [name, problem] : readiness_.ask()) {
    all_fine = all_fine && problem.empty();
    text += fmt::format(
        "[{}] {}{}{}\n", problem.empty() ? "+" : "-", name, problem.empty() ? "" : ": ", problem);
  }
  if (request.query.find("verbose") == std::string::npos && all_fine) text = "ok\n";
  auto reply = text_reply(std::move(text));
  reply.status = all_fine ? 200 : 503;
  return reply;
}

HttpReply RestApi::open_api(const HttpRequest& request) const {
  auto admitted = dispatch_.admit(request.credentials, sonde::v1::Access::READ, "/openapi.json");
  if (!admitted) return problem_reply(admitted.error(), request.path, "");
  auto document = open_api_document(dispatch_.methods());
  if (!document) return problem_reply(document.error(), request.path, "");
  return {200, "application/json", std::move(*document), {}};
}

HttpAnswer RestApi::call(const HttpRequest& request) const {
  // HEAD is answered like GET; the connection leaves out the body.
  auto route =
      dispatch_.methods().route(request.verb == "HEAD" ? "GET" : request.verb, request.path);
  if (!route) {
    auto reply = problem_reply(route.error(), request.path, "");
    if (reply.status == 405)
      reply.headers.emplace_back("Allow", dispatch_.methods().allowed(request.path));
    return reply;
  }
  if (route->method->streams()) return open_stream(request, *route);
  return call_unary(request, *route);
}

HttpAnswer RestApi::call_unary(const HttpRequest& request, const MethodTable::Route& route) const {
  auto [response, request_id] = dispatch_.call(
      {*route.method, request.credentials, "rest", [&] { return decode(request, route); }});
  if (!response)
    return problem_reply(response.error(), request.path, request_id, route.binding->body);
  auto body = to_response_body(*route.binding, **response);
  if (!body) return problem_reply(body.error(), request.path, request_id);
  return HttpReply{200, "application/json", std::move(*body), {{"X-Request-Id", request_id}}};
}

HttpAnswer RestApi::open_stream(const HttpRequest& request, const MethodTable::Route& route) const {
  auto [source, request_id] =
      dispatch_.open({*route.method, request.credentials, "rest", [&]() -> Result<MessagePtr> {
                        auto message = TRY(decode(request, route));
                        resume(*message, request.last_event_id);
                        return message;
                      }});
  if (!source) return problem_reply(source.error(), request.path, request_id, route.binding->body);
  return HttpStream{std::move(*source), request.path, request_id};
}

HttpAnswer MetricsApi::serve(const HttpRequest& request) {
  if (request.path != "/metrics" || request.verb != "GET")
    return problem_reply(
        base::not_found("NO_SUCH_PATH", request.path + " is not here; this listener has /metrics"),
        request.path, "");
  return HttpReply{200, "text/plain; version=0.0.4; charset=utf-8", page_.render(), {}};
}

} // namespace controlplane::edge
