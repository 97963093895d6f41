#include "controlplane/edge/openapi.h"

#include "controlplane/edge/descriptors.h"
#include "controlplane/edge/json_reader.h"
#include "google/api/field_behavior.pb.h"

#include <boost/algorithm/string/trim.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <map>
#include <set>

namespace controlplane::edge {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;

constexpr std::string_view kOwnPackage = "sonde.v1.";
constexpr std::string_view kOtlpPackage = "opentelemetry.proto.";
constexpr std::string_view kWellKnownPackage = "google.protobuf.";
// Query parameters go this deep into nested messages.
constexpr int kQueryDepthMax = 3;

// The comments of the contract: the descriptors that are linked in have none.
class Comments {
 public:
  base::Result<> load() {
    pb::FileDescriptorSet files;
    auto bytes = descriptor_set();
    if (!files.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return base::internal("the descriptor set in this program does not parse");
    for (const auto& file : files.file()) {
      if (!pool_.BuildFile(file))
        return base::internal(
            "the descriptor set in this program lacks an import of " + file.name());
    }
    return {};
  }
  std::string of(const pb::MethodDescriptor& method) const {
    return text(pool_.FindMethodByName(method.full_name()));
  }
  std::string of(const pb::ServiceDescriptor& service) const {
    return text(pool_.FindServiceByName(service.full_name()));
  }
  std::string of(const pb::Descriptor& type) const {
    return text(pool_.FindMessageTypeByName(type.full_name()));
  }
  std::string of(const pb::EnumDescriptor& type) const {
    return text(pool_.FindEnumTypeByName(type.full_name()));
  }
  std::string of(const Field& field) const {
    return text(pool_.FindFieldByName(field.full_name()));
  }
  std::string of(const pb::EnumValueDescriptor& value) const {
    return text(pool_.FindEnumValueByName(value.full_name()));
  }

 private:
  template <class Descriptor> static std::string text(const Descriptor* descriptor) {
    pb::SourceLocation location;
    if (!descriptor || !descriptor->GetSourceLocation(&location)) return "";
    auto comment = location.leading_comments;
    boost::algorithm::trim(comment);
    std::string joined; // a comment is wrapped for its column, not for its reader
    for (size_t i = 0; i < comment.size(); ++i) {
      if (comment[i] == '\n' && i + 1 < comment.size() && comment[i + 1] == ' ') continue;
      joined += comment[i];
    }
    return joined;
  }

  pb::DescriptorPool pool_;
};

// "Session" of sonde.v1.Session; others keep their full name.
std::string schema_name(const std::string& full_name) {
  return full_name.starts_with(kOwnPackage) ? full_name.substr(kOwnPackage.size()) : full_name;
}

json::object reference(const std::string& full_name) {
  return {{"$ref", "#/components/schemas/" + schema_name(full_name)}};
}

// The schema of a type whose JSON is not an object of its fields; empty for others.
json::object well_known_schema(const std::string& full_name) {
  if (full_name == "google.protobuf.Duration")
    return {
        {"type", "string"},
        {"pattern", "^-?[0-9]+(\\.[0-9]{1,9})?s$"},
        {"examples", {"300s", "0.5s"}}};
  if (full_name == "google.protobuf.Timestamp")
    return {{"type", "string"}, {"format", "date-time"}};
  if (full_name == "google.protobuf.FieldMask")
    return {{"type", "string"}, {"description", "Field names joined by commas."}};
  if (full_name.starts_with(kWellKnownPackage)) return {{"type", "object"}};
  return {};
}

bool has_behavior(const Field& field, google::api::FieldBehavior behavior) {
  const auto& options = field.options();
  for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
    if (options.GetExtension(google::api::field_behavior, i) == behavior) return true;
  }
  return false;
}

class Document {
 public:
  explicit Document(const Comments& comments) : comments_(comments) {}

  void add(const Method& method) {
    for (size_t i = 0; i < method.bindings.size(); ++i) {
      const auto& binding = method.bindings[i];
      auto verb = binding.verb;
      std::transform(
          verb.begin(), verb.end(), verb.begin(), [](unsigned char c) { return std::tolower(c); });
      auto& path = paths_[binding.path.text()];
      if (!path.is_object()) path = json::object();
      path.get_object()[verb] = operation(method, binding, i);
    }
    const auto& service = *method.descriptor->service();
    tags_[service.name()] = comments_.of(service);
  }

  std::string text() {
    json::object schemas = all_schemas();
    schemas["Problem"] = problem_schema();
    json::array tags;
    for (const auto& [name, description] : tags_)
      tags.push_back({{"name", name}, {"description", description}});
    return json::serialize(json::object{
        {"openapi", "3.1.0"},
        {"info",
         {{"title", "Sonde"},
          {"version", "v1"},
          {"description", "Control plane for tracing fleets of Go services with eBPF."},
          {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
        {"security", json::array{json::object{{"bearer", json::array()}}}},
        {"tags", tags},
        {"paths", paths_},
        {"components",
         {{"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}},
          {"schemas", schemas}}}});
  }

 private:
  json::object operation(const Method& method, const HttpBinding& binding, size_t index) {
    const auto& descriptor = *method.descriptor;
    json::object operation{
        {"operationId", fmt::format(
                            "{}_{}{}", descriptor.service()->name(), descriptor.name(),
                            index ? fmt::format("_{}", index) : "")},
        {"tags", json::array{descriptor.service()->name()}},
        {"description", comments_.of(descriptor)},
        {"x-sonde-permission", sonde::v1::Access::Permission_Name(method.permission)},
        {"parameters", parameters(method, binding)},
        {"responses", responses(method)}};
    if (!binding.body.empty()) operation["requestBody"] = request_body(method, binding);
    return operation;
  }

  json::array parameters(const Method& method, const HttpBinding& binding) {
    json::array parameters;
    auto captured = binding.path.fields();
    for (const auto& path : captured) {
      const auto* field = leaf(*descriptor_of(method), path);
      parameters.push_back(
          {{"name", path},
           {"in", "path"},
           {"required", true},
           {"schema", schema_of(*field)},
           {"description", comments_.of(*field)}});
    }
    if (binding.body != "*")
      add_query(
          *descriptor_of(method), "", "", {captured.begin(), captured.end()}, binding.body, 0,
          parameters);
    return parameters;
  }

  static const pb::Descriptor* descriptor_of(const Method& method) {
    return method.descriptor->input_type();
  }

  static const Field* leaf(const pb::Descriptor& type, std::string_view path) {
    auto dot = path.find('.');
    const auto* field = find_field(type, path.substr(0, dot));
    if (dot == std::string_view::npos) return field;
    return leaf(*field->message_type(), path.substr(dot + 1));
  }

  void add_query(
      const pb::Descriptor& type, const std::string& proto_prefix, const std::string& json_prefix,
      const std::set<std::string>& captured, const std::string& body, int depth,
      json::array& parameters) {
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& field = *type.field(i);
      auto path = proto_prefix + field.name();
      if (captured.contains(path) || path == body || field.is_map()) continue;
      bool is_object =
          field.message_type() && well_known_schema(field.message_type()->full_name()).empty();
      if (!is_object) {
        parameters.push_back(
            {{"name", json_prefix + field.json_name()},
             {"in", "query"},
             {"schema", schema_of(field)},
             {"description", comments_.of(field)}});
      } else if (!field.is_repeated() && depth < kQueryDepthMax) {
        add_query(
            *field.message_type(), path + ".", json_prefix + field.json_name() + ".", captured,
            body, depth + 1, parameters);
      }
    }
  }

  json::object request_body(const Method& method, const HttpBinding& binding) {
    const auto* type = descriptor_of(method);
    json::object schema = binding.body == "*" ? message_schema(*type)
                                              : schema_of(*type->FindFieldByName(binding.body));
    return {
        {"required", binding.body != "*"},
        {"content", {{"application/json", {{"schema", schema}}}}}};
  }

  json::object responses(const Method& method) {
    auto schema = message_schema(*method.descriptor->output_type());
    const char* type = method.streams() ? "text/event-stream" : "application/json";
    return {
        {"200", {{"description", "OK"}, {"content", {{type, {{"schema", schema}}}}}}},
        {"default",
         {{"description", "An error; `reason` says which and stays the same."},
          {"content", {{"application/problem+json", {{"schema", reference("Problem")}}}}}}}};
  }

  json::object message_schema(const pb::Descriptor& type) {
    auto well_known = well_known_schema(type.full_name());
    if (!well_known.empty()) return well_known;
    wanted_.insert(&type);
    return reference(type.full_name());
  }

  json::object schema_of(const Field& field) {
    if (field.is_map())
      return {
          {"type", "object"},
          {"additionalProperties", single_schema(*field.message_type()->map_value())}};
    if (field.is_repeated()) return {{"type", "array"}, {"items", single_schema(field)}};
    return single_schema(field);
  }

  json::object single_schema(const Field& field) {
    const bool otlp = field.full_name().starts_with(kOtlpPackage);
    switch (field.cpp_type()) {
    case Field::CPPTYPE_BOOL:
      return {{"type", "boolean"}};
    case Field::CPPTYPE_INT32:
      return {{"type", "integer"}, {"format", "int32"}};
    case Field::CPPTYPE_UINT32:
      return {{"type", "integer"}, {"format", "uint32"}, {"minimum", 0}};
    case Field::CPPTYPE_INT64:
      return {{"type", "string"}, {"format", "int64"}};
    case Field::CPPTYPE_UINT64:
      return {{"type", "string"}, {"format", "uint64"}};
    case Field::CPPTYPE_FLOAT:
    case Field::CPPTYPE_DOUBLE:
      return {{"type", "number"}};
    case Field::CPPTYPE_STRING:
      if (field.type() != Field::TYPE_BYTES) return {{"type", "string"}};
      if (otlp && field.name().ends_with("_id"))
        return {{"type", "string"}, {"pattern", "^[0-9a-f]*$"}};
      return {{"type", "string"}, {"contentEncoding", "base64"}};
    case Field::CPPTYPE_ENUM:
      if (otlp) return {{"type", "integer"}};
      wanted_enums_.insert(field.enum_type());
      return reference(field.enum_type()->full_name());
    case Field::CPPTYPE_MESSAGE:
      return message_schema(*field.message_type());
    }
    return {};
  }

  json::object all_schemas() {
    std::map<std::string, json::object> schemas; // sorted: the document is the same every time
    std::set<const pb::Descriptor*> done;
    while (done.size() < wanted_.size()) {
      auto round = wanted_; // a schema asks for more
      for (const auto* type : round) {
        if (done.insert(type).second)
          schemas[schema_name(type->full_name())] = object_schema(*type);
      }
    }
    for (const auto* type : wanted_enums_)
      schemas[schema_name(type->full_name())] = enum_schema(*type);
    json::object sorted;
    for (auto& [name, schema] : schemas) sorted[name] = std::move(schema);
    return sorted;
  }

  json::object object_schema(const pb::Descriptor& type) {
    json::object properties;
    json::array required;
    for (int i = 0; i < type.field_count(); ++i) {
      const auto& field = *type.field(i);
      auto schema = schema_of(field);
      if (auto description = comments_.of(field); !description.empty())
        schema["description"] = description;
      if (has_behavior(field, google::api::OUTPUT_ONLY)) schema["readOnly"] = true;
      if (has_behavior(field, google::api::INPUT_ONLY)) schema["writeOnly"] = true;
      if (has_behavior(field, google::api::REQUIRED)) required.push_back(field.json_name().c_str());
      properties[field.json_name()] = std::move(schema);
    }
    json::object schema{
        {"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
    if (auto description = comments_.of(type); !description.empty())
      schema["description"] = description;
    if (!required.empty()) schema["required"] = required;
    return schema;
  }

  json::object enum_schema(const pb::EnumDescriptor& type) {
    json::array values;
    std::string description = comments_.of(type);
    for (int i = 0; i < type.value_count(); ++i) {
      values.push_back(type.value(i)->name().c_str());
      if (auto text = comments_.of(*type.value(i)); !text.empty())
        description +=
            fmt::format("{}{}: {}", description.empty() ? "" : "\n", type.value(i)->name(), text);
    }
    json::object schema{{"type", "string"}, {"enum", values}};
    if (!description.empty()) schema["description"] = description;
    return schema;
  }

  static json::object problem_schema() {
    json::object text{{"type", "string"}};
    json::object violation{
        {"type", "object"}, {"properties", {{"field", text}, {"reason", text}, {"detail", text}}}};
    return {
        {"type", "object"},
        {"description", "RFC 9457."},
        {"properties",
         {{"type", text},
          {"title", text},
          {"status", {{"type", "integer"}}},
          {"detail", text},
          {"instance", text},
          {"reason", text},
          {"code", text},
          {"errors", {{"type", "array"}, {"items", violation}}},
          {"requestId", text}}}};
  }

  const Comments& comments_;
  json::object paths_;
  std::map<std::string, std::string> tags_;
  std::set<const pb::Descriptor*> wanted_;
  std::set<const pb::EnumDescriptor*> wanted_enums_;
};

} // namespace

base::Result<std::string> open_api_document(const MethodTable& methods) {
  Comments comments;
  TRY(comments.load());
  Document document(comments);
  for (const auto& method : methods.methods()) document.add(method);
  return document.text();
}

} // namespace controlplane::edge
