#include "sdk-clients/cli/output.h"

#include "base/check.h"
#include "base/hex.h"

#include <boost/json.hpp>
#include <google/protobuf/util/json_util.h>
#include <openssl/evp.h>
#include <yaml-cpp/yaml.h>

namespace cli {

namespace json = boost::json;

namespace {

constexpr std::string_view kOtlpPackage = "opentelemetry.proto.";

std::string hex_from_base64(std::string_view text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(
      reinterpret_cast<unsigned char*>(bytes.data()),
      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::string(text);
  bytes.resize(static_cast<size_t>(size));
  if (text.ends_with("==")) bytes.pop_back();
  if (text.ends_with("=")) bytes.pop_back();
  return base::to_hex(bytes);
}

// OTLP/JSON writes ids in hexadecimal, where protobuf has base64.
// https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
void write_ids_as_hex(json::value& value) {
  if (auto* array = value.if_array()) {
    for (auto& item : *array) write_ids_as_hex(item);
    return;
  }
  auto* object = value.if_object();
  if (object == nullptr) return;
  for (auto& [key, member] : *object) {
    const bool is_id = key == "traceId" || key == "spanId" || key == "parentSpanId";
    if (is_id && member.is_string())
      member = hex_from_base64(member.get_string());
    else
      write_ids_as_hex(member);
  }
}

// A message of OTLP, or one around them such as Trace.
bool is_otlp(const google::protobuf::Descriptor& type) {
  if (type.full_name().starts_with(kOtlpPackage)) return true;
  for (int i = 0; i < type.field_count(); ++i)
    if (const auto* part = type.field(i)->message_type();
        part != nullptr && part->full_name().starts_with(kOtlpPackage))
      return true;
  return false;
}

json::value to_json(const google::protobuf::Message& message) {
  const bool otlp = is_otlp(*message.GetDescriptor());
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_enums_as_ints = otlp;
  std::string text;
  CHECK(google::protobuf::util::MessageToJsonString(message, &text, options).ok());
  auto value = json::parse(text);
  if (otlp) write_ids_as_hex(value);
  return value;
}

void append_indented(std::string& text, const json::value& value, const std::string& indent) {
  const auto inner = indent + "  ";
  bool first = true;
  const auto begin_item = [&] {
    text += first ? "\n" : ",\n";
    text += inner;
    first = false;
  };
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    text += '{';
    for (const auto& [key, member] : *object) {
      begin_item();
      text += json::serialize(json::string(key)) + ": ";
      append_indented(text, member, inner);
    }
    text += "\n" + indent + "}";
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    text += '[';
    for (const auto& item : *array) {
      begin_item();
      append_indented(text, item, inner);
    }
    text += "\n" + indent + "]";
  } else {
    text += json::serialize(value);
  }
}

void emit_yaml(YAML::Emitter& out, const json::value& value) {
  if (const auto* object = value.if_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, member] : *object) {
      out << YAML::Key << std::string(key) << YAML::Value;
      emit_yaml(out, member);
    }
    out << YAML::EndMap;
  } else if (const auto* array = value.if_array()) {
    out << YAML::BeginSeq;
    for (const auto& item : *array) emit_yaml(out, item);
    out << YAML::EndSeq;
  } else if (const auto* string = value.if_string()) {
    // A string that reads as a number or a truth value stays a string.
    const std::string text(*string);
    const bool plain = !text.empty() && text.find_first_not_of("0123456789.+-eE") != text.npos &&
                       text != "true" && text != "false" && text != "null" && text != "yes" &&
                       text != "no";
    if (!plain) out << YAML::DoubleQuoted;
    out << text;
  } else {
    out << json::serialize(value);
  }
}

} // namespace

std::string format_message(const google::protobuf::Message& message, Format format) {
  const auto value = to_json(message);
  if (format == Format::kYaml) {
    YAML::Emitter out;
    emit_yaml(out, value);
    return std::string(out.c_str()) + "\n";
  }
  std::string text;
  append_indented(text, value, "");
  return text + "\n";
}

std::string format_json_line(const google::protobuf::Message& message) {
  return json::serialize(to_json(message)) + "\n";
}

} // namespace cli
