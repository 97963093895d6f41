#include "controlplane/edge/json_writer.h"

#include "base/hex.h"

#include <boost/json.hpp>
#include <google/protobuf/util/json_util.h>

namespace controlplane::edge {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;

constexpr std::string_view kOtlpPackage = "opentelemetry.proto.";

// A message of OTLP, or one around them such as Trace.
bool is_otlp(const pb::Descriptor& type) {
  if (type.full_name().starts_with(kOtlpPackage)) return true;
  for (int i = 0; i < type.field_count(); ++i)
    if (const auto* part = type.field(i)->message_type();
        part && part->full_name().starts_with(kOtlpPackage))
      return true;
  return false;
}

bool is_id(const pb::FieldDescriptor& field) {
  return field.type() == pb::FieldDescriptor::TYPE_BYTES &&
         (field.name() == "trace_id" || field.name() == "span_id" ||
          field.name() == "parent_span_id");
}

// What base64 says, as protobuf wrote it: no line breaks, padded.
std::string decode_base64(std::string_view text) {
  auto sextet = [](char c) -> unsigned {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : 63;
  };
  std::string bytes;
  unsigned bits = 0, count = 0;
  for (char c : text) {
    if (c == '=') break;
    bits = bits << 6 | sextet(c);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return bytes;
}

// Base64 of ids becomes hexadecimal, in place, down the whole message.
void write_ids_as_hex(json::object& object, const pb::Descriptor& type) {
  for (auto& member : object) {
    const auto* field = type.FindFieldByCamelcaseName(std::string(member.key()));
    if (!field) continue;
    auto& value = member.value();
    if (is_id(*field) && value.is_string()) {
      value = base::to_hex(decode_base64(value.get_string()));
    } else if (value.is_object() && field->message_type()) {
      write_ids_as_hex(value.get_object(), *field->message_type());
    } else if (value.is_array() && field->message_type()) {
      for (auto& element : value.get_array()) {
        if (element.is_object()) write_ids_as_hex(element.get_object(), *field->message_type());
      }
    }
  }
}

} // namespace

base::Result<std::string> write_json(const pb::Message& message) {
  const bool otlp = is_otlp(*message.GetDescriptor());
  pb::util::JsonPrintOptions options;
  options.always_print_enums_as_ints = otlp;
  std::string text;
  auto written = pb::util::MessageToJsonString(message, &text, options);
  if (!written.ok()) return base::internal("write JSON: " + written.ToString());
  if (!otlp) return text;
  json::error_code error;
  auto value = json::parse(text, error);
  if (error) return base::internal("write JSON: " + error.message());
  write_ids_as_hex(value.get_object(), *message.GetDescriptor());
  return json::serialize(value);
}

} // namespace controlplane::edge
