#include "controlplane/edge/transcoder.h"

#include "controlplane/edge/json_reader.h"
#include "controlplane/edge/json_writer.h"
#include "controlplane/edge/limits.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <set>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;
using base::Result;

struct Leaf {
  pb::Message* message;
  const pb::FieldDescriptor* field;
};

base::Error no_such_field(std::string_view path) {
  return base::invalid_argument("UNKNOWN_FIELD", fmt::format("{}: no such field", path)).at(path);
}

// Walks "session.id" down from the request, making the messages on the way.
Result<Leaf> find_leaf(pb::Message& request, std::string_view path) {
  pb::Message* message = &request;
  auto rest = path;
  while (true) {
    auto dot = rest.find('.');
    const auto* field = find_field(*message->GetDescriptor(), rest.substr(0, dot));
    if (!field || field->is_map()) return no_such_field(path);
    if (dot == std::string_view::npos) return Leaf{message, field};
    if (field->is_repeated() || !field->message_type()) return no_such_field(path);
    message = message->GetReflection()->MutableMessage(message, field);
    rest.remove_prefix(dot + 1);
  }
}

Result<> read_body(const HttpBinding& binding, std::string_view body, pb::Message& request) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return {};
  if (binding.body == "*") return read_json(body, request);
  if (binding.body.empty())
    return base::invalid_argument(
        "UNEXPECTED_BODY", fmt::format("{} {} takes no body", binding.verb, binding.path.text()));
  const auto* field = request.GetDescriptor()->FindFieldByName(binding.body);
  if (!field) return base::internal(fmt::format("the body of {} is no field", binding.path.text()));
  return read_json_field(body, request, *field);
}

// A query may not touch what the body already says.
Result<>
check_bindable(const HttpBinding& binding, std::string_view path, const pb::Message& request) {
  auto root = path.substr(0, path.find('.'));
  const auto* body = request.GetDescriptor()->FindFieldByName(binding.body);
  if (binding.body != "*" && (!body || (root != body->name() && root != body->json_name())))
    return {};
  return base::invalid_argument(
             "UNKNOWN_FIELD", fmt::format("{}: goes into the body, not into the query", path))
      .at(path);
}

Result<> read_parameter(
    const HttpBinding& binding, std::string_view name, std::string_view value, pb::Message& request,
    std::set<std::string>& seen) {
  auto leaf = TRY(find_leaf(request, name));
  TRY(check_bindable(binding, name, request));
  auto known = fmt::format("{}/{}", fmt::ptr(leaf.message), leaf.field->number());
  if (!seen.insert(known).second && !leaf.field->is_repeated())
    return base::invalid_argument("REPEATED_PARAMETER", fmt::format("{}: is given twice", name))
        .at(name);
  return read_text(value, *leaf.message, *leaf.field, name);
}

Result<> read_query(const HttpBinding& binding, std::string_view query, pb::Message& request) {
  std::set<std::string> seen;
  size_t count = 0;
  while (!query.empty()) {
    auto end = query.find('&');
    auto pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    if (pair.empty()) continue;
    if (++count > kQueryParametersMax)
      return base::invalid_argument(
          "TOO_MANY_PARAMETERS", fmt::format("more than {} query parameters", kQueryParametersMax));
    auto equals = pair.find('=');
    auto name = TRY(percent_decode(pair.substr(0, equals), PlusIs::kSpace));
    auto value = equals == std::string_view::npos
                     ? std::string()
                     : TRY(percent_decode(pair.substr(equals + 1), PlusIs::kSpace));
    TRY(read_parameter(binding, name, value, request, seen));
  }
  return {};
}

} // namespace

Result<std::unique_ptr<pb::Message>>
to_request(const MethodTable::Route& route, std::string_view query, std::string_view body) {
  std::unique_ptr<pb::Message> request(route.method->request->New());
  TRY(read_body(*route.binding, body, *request));
  TRY(read_query(*route.binding, query, *request));
  for (const auto& capture : route.captures) {
    auto leaf = TRY(find_leaf(*request, capture.field));
    TRY(read_text(capture.value, *leaf.message, *leaf.field, capture.field));
  }
  return request;
}

Result<std::string> to_response_body(const HttpBinding& binding, const pb::Message& response) {
  auto text = TRY(write_json(response));
  if (binding.response_body.empty()) return text;
  const auto* field = response.GetDescriptor()->FindFieldByName(binding.response_body);
  if (!field) return base::internal("response_body names no field");
  boost::json::error_code error;
  auto value = boost::json::parse(text, error);
  if (error) return base::internal("write JSON: " + error.message());
  const auto* member = value.get_object().if_contains(field->json_name());
  if (member) return boost::json::serialize(*member);
  return std::string(field->is_map() ? "{}" : field->is_repeated() ? "[]" : "null");
}

} // namespace controlplane::edge
