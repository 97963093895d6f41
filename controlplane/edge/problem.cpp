#include "controlplane/edge/problem.h"

#include "google/rpc/code.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace controlplane::edge {
namespace {

using base::Code;

constexpr std::string_view kDomain = "sonde";
constexpr std::string_view kProblemTypes = "urn:sonde:reason:"; // a name, not an address

struct StatusOfReason {
  std::string_view reason;
  unsigned status;
};
// Where the code alone is too coarse for HTTP.
constexpr std::array kStatusOfReason{
    StatusOfReason{"METHOD_NOT_ALLOWED", 405},   StatusOfReason{"REQUEST_TIMEOUT", 408},
    StatusOfReason{"BODY_TOO_LARGE", 413},       StatusOfReason{"UNSUPPORTED_MEDIA_TYPE", 415},
    StatusOfReason{"NOT_ACCEPTABLE", 406},       StatusOfReason{"HEADER_TOO_LARGE", 431},
    StatusOfReason{"EVENT_EXPIRED", 410},        StatusOfReason{"OVERLOADED", 503},
    StatusOfReason{"VERSION_NOT_SUPPORTED", 505}};

unsigned status_of(Code code) {
  switch (code) {
  case Code::kOk:
    return 200;
  case Code::kCancelled:
    return 499;
  case Code::kInvalidArgument:
  case Code::kFailedPrecondition:
  case Code::kOutOfRange:
    return 400;
  case Code::kUnauthenticated:
    return 401;
  case Code::kPermissionDenied:
    return 403;
  case Code::kNotFound:
    return 404;
  case Code::kAlreadyExists:
  case Code::kAborted:
    return 409;
  case Code::kResourceExhausted:
    return 429;
  case Code::kUnimplemented:
    return 501;
  case Code::kUnavailable:
    return 503;
  case Code::kDeadlineExceeded:
    return 504;
  case Code::kUnknown:
  case Code::kInternal:
  case Code::kDataLoss:
    break;
  }
  return 500;
}

// "Invalid argument" of INVALID_ARGUMENT.
std::string title_of(Code code) {
  auto title = google::rpc::Code_Name(static_cast<google::rpc::Code>(code));
  std::transform(title.begin() + 1, title.end(), title.begin() + 1, [](char c) {
    return c == '_' ? ' ' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  return title;
}

// "session.selector.hosts" is "selector.hosts" to who sent the session as the body.
std::string_view as_written(std::string_view field, std::string_view body_field) {
  if (body_field.empty() || body_field == "*") return field;
  if (field.starts_with(body_field) && field.substr(body_field.size()).starts_with('.'))
    field.remove_prefix(body_field.size() + 1);
  return field;
}

} // namespace

grpc::Status to_grpc_status(const base::Error& error, std::string_view request_id) {
  google::rpc::ErrorInfo info;
  info.set_reason(std::string(error.reason));
  info.set_domain(std::string(kDomain));
  if (!request_id.empty()) (*info.mutable_metadata())["requestId"] = request_id;
  google::rpc::Status status;
  status.set_code(static_cast<int>(error.code));
  status.set_message(error.message);
  status.add_details()->PackFrom(info);
  if (!error.field.empty()) {
    google::rpc::BadRequest bad;
    auto* violation = bad.add_field_violations();
    violation->set_field(error.field);
    violation->set_description(error.message);
    status.add_details()->PackFrom(bad);
  }
  return {static_cast<grpc::StatusCode>(error.code), error.message, status.SerializeAsString()};
}

unsigned http_status(const base::Error& error) {
  for (const auto& [reason, status] : kStatusOfReason) {
    if (reason == error.reason) return status;
  }
  return status_of(error.code);
}

Problem to_problem(
    const base::Error& error, std::string_view instance, std::string_view request_id,
    std::string_view body_field) {
  namespace json = boost::json;
  Problem problem{http_status(error), {}};
  json::object body{
      {"type", fmt::format("{}{}", kProblemTypes, error.reason)},
      {"title", title_of(error.code)},
      {"status", problem.status},
      {"detail", error.message},
      {"reason", error.reason},
      {"code", google::rpc::Code_Name(static_cast<google::rpc::Code>(error.code))}};
  // What never became a call has neither.
  if (!instance.empty()) body["instance"] = instance;
  if (!request_id.empty()) body["requestId"] = request_id;
  if (!error.field.empty()) {
    body["errors"] = json::array{json::object{
        {"field", as_written(error.field, body_field)},
        {"reason", error.reason},
        {"detail", error.message}}};
  }
  problem.body = json::serialize(body);
  return problem;
}

} // namespace controlplane::edge
