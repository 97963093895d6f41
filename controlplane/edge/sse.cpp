#include "controlplane/edge/sse.h"

#include "controlplane/edge/json_writer.h"
#include "controlplane/edge/problem.h"

#include <fmt/format.h>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;

constexpr char kEventIdField[] = "event_id";

std::string id_of(const pb::Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByName(kEventIdField);
  if (!field || field->cpp_type() != pb::FieldDescriptor::CPPTYPE_STRING || field->is_repeated())
    return "";
  auto id = message.GetReflection()->GetString(message, field);
  // A line break would end the id and begin a field of its own.
  return id.find_first_of("\r\n") == std::string::npos ? id : std::string();
}

std::string name_of(const pb::Message& message) {
  const auto* type = message.GetDescriptor();
  if (type->real_oneof_decl_count() == 0) return "";
  const auto* oneof = type->oneof_decl(0); // real ones come first
  if (!message.GetReflection()->HasOneof(message, oneof)) return "";
  return message.GetReflection()->GetOneofFieldDescriptor(message, oneof)->json_name();
}

// JSON has its line breaks escaped, so data is always one line.
std::string framed(std::string_view id, std::string_view name, std::string_view data) {
  std::string event;
  if (!id.empty()) event += fmt::format("id: {}\n", id);
  if (!name.empty()) event += fmt::format("event: {}\n", name);
  return event + fmt::format("data: {}\n\n", data);
}

} // namespace

base::Result<std::string> sse_event(const pb::Message& message) {
  auto data = TRY(write_json(message));
  return framed(id_of(message), name_of(message), data);
}

std::string
sse_error(const base::Error& error, std::string_view instance, std::string_view request_id) {
  return framed("", "error", to_problem(error, instance, request_id).body);
}

std::string sse_retry(std::chrono::milliseconds after) {
  return fmt::format("retry: {}\n\n", after.count());
}

std::string sse_keep_alive() { return ": keep-alive\n\n"; }

} // namespace controlplane::edge
