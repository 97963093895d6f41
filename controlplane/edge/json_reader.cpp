#include "controlplane/edge/json_reader.h"

#include "controlplane/edge/limits.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <google/protobuf/stubs/common.h>
#include <google/protobuf/util/json_util.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace controlplane::edge {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;
using Field = pb::FieldDescriptor;
using base::Result;

constexpr size_t kShownBytesMax = 80;

std::string join(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

std::string shown(const json::value& value) {
  auto text = json::serialize(value);
  if (text.size() > kShownBytesMax) text = text.substr(0, kShownBytesMax) + "…";
  return text;
}

std::string expected(const Field& field) {
  switch (field.cpp_type()) {
  case Field::CPPTYPE_BOOL:
    return "true or false";
  case Field::CPPTYPE_INT32:
    return "a 32-bit integer";
  case Field::CPPTYPE_UINT32:
    return "a 32-bit integer, not negative";
  case Field::CPPTYPE_INT64:
    return "a 64-bit integer";
  case Field::CPPTYPE_UINT64:
    return "a 64-bit integer, not negative";
  case Field::CPPTYPE_FLOAT:
  case Field::CPPTYPE_DOUBLE:
    return "a number";
  case Field::CPPTYPE_STRING:
    return field.type() == Field::TYPE_BYTES ? "a base64 string" : "a string";
  case Field::CPPTYPE_ENUM: {
    std::string names;
    for (int i = 0; i < field.enum_type()->value_count(); ++i) {
      const auto* value = field.enum_type()->value(i);
      if (value->number() != 0) names += (names.empty() ? "" : ", ") + value->name();
    }
    return "one of " + names;
  }
  case Field::CPPTYPE_MESSAGE:
    break;
  }
  const auto& type = field.message_type()->full_name();
  if (type == "google.protobuf.Duration")
    return "a duration in seconds, such as \"300s\" or \"0.5s\"";
  if (type == "google.protobuf.Timestamp") return "a time, such as \"2026-01-31T08:00:00Z\"";
  if (type == "google.protobuf.FieldMask") return "field names joined by commas";
  return "an object";
}

base::Error wrong_type(const json::value& value, const Field& field, std::string_view path) {
  return base::invalid_argument(
             "WRONG_TYPE", fmt::format("{}: {} is not {}", path, shown(value), expected(field)))
      .at(path);
}

template <class Integer> std::optional<Integer> integer_from(const json::value& value) {
  constexpr auto kLow = std::numeric_limits<Integer>::min();
  constexpr auto kHigh = std::numeric_limits<Integer>::max();
  if (value.is_int64() && std::in_range<Integer>(value.get_int64()))
    return static_cast<Integer>(value.get_int64());
  if (value.is_uint64() && std::in_range<Integer>(value.get_uint64()))
    return static_cast<Integer>(value.get_uint64());
  if (value.is_double()) { // 1e3 is an integer, too
    auto number = value.get_double();
    if (number == std::floor(number) && std::abs(number) < 9e15 &&
        number >= static_cast<double>(kLow) && number <= static_cast<double>(kHigh))
      return static_cast<Integer>(number);
  }
  if (value.is_string()) {
    std::string_view text = value.get_string();
    Integer number{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && !text.empty() && end == text.data() + text.size()) return number;
  }
  return std::nullopt;
}

std::optional<double> double_from(const json::value& value) {
  if (value.is_number()) return value.to_number<double>();
  if (!value.is_string()) return std::nullopt;
  std::string_view text = value.get_string();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  double number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || text.empty() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<int> enum_from(const json::value& value, const pb::EnumDescriptor& type) {
  if (value.is_string()) {
    const auto* named = type.FindValueByName(std::string(value.get_string()));
    if (named) return named->number();
    return std::nullopt;
  }
  auto number = integer_from<int32_t>(value);
  if (number && type.FindValueByNumber(*number)) return number;
  return std::nullopt;
}

// Types whose JSON is not an object of their fields; protobuf's own reader knows them all.
bool is_well_known(const pb::Descriptor& type) {
  return type.file()->package() == "google.protobuf" && type.full_name() != "google.protobuf.Empty";
}

// Names joined by commas, as JSON or the protos spell them; protobuf's reader takes anything and
// changes it.
bool is_field_mask(std::string_view text) {
  char before = ',';
  for (char c : text) {
    bool begins = before == ',' || before == '.' || before == '_';
    bool letter = (c >= 'a' && c <= 'z') || (!begins && c >= 'A' && c <= 'Z');
    bool digit = !begins && c >= '0' && c <= '9';
    bool separator = !begins && (c == ',' || c == '.' || c == '_');
    if (!letter && !digit && !separator) return false;
    before = c;
  }
  return text.empty() || (before != ',' && before != '.' && before != '_');
}

// One value into one field: set, or appended when the field is repeated.
class FieldReader {
 public:
  FieldReader(pb::Message& message, const Field& field)
      : message_(message), field_(field), reflection_(*message.GetReflection()) {}

  Result<> read(const json::value& value, std::string_view path);

 private:
  Result<> read_string(const json::value& value, std::string_view path);
  Result<> read_bytes(const json::value& value, std::string_view path);
  Result<> read_message(const json::value& value, std::string_view path);

  pb::Message& message_;
  const Field& field_;
  const pb::Reflection& reflection_;
};

Result<> read_object(const json::object& object, pb::Message& message, std::string_view path);

#define SONDE_SET(Kind, value)                                                                     \
  (field_.is_repeated() ? reflection_.Add##Kind(&message_, &field_, value)                         \
                        : reflection_.Set##Kind(&message_, &field_, value))

Result<> FieldReader::read(const json::value& value, std::string_view path) {
  switch (field_.cpp_type()) {
  case Field::CPPTYPE_BOOL:
    if (!value.is_bool()) return wrong_type(value, field_, path);
    SONDE_SET(Bool, value.get_bool());
    return {};
  case Field::CPPTYPE_INT32:
    if (auto number = integer_from<int32_t>(value)) return SONDE_SET(Int32, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_UINT32:
    if (auto number = integer_from<uint32_t>(value)) return SONDE_SET(UInt32, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_INT64:
    if (auto number = integer_from<int64_t>(value)) return SONDE_SET(Int64, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_UINT64:
    if (auto number = integer_from<uint64_t>(value)) return SONDE_SET(UInt64, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_DOUBLE:
    if (auto number = double_from(value)) return SONDE_SET(Double, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_FLOAT:
    if (auto number = double_from(value))
      return SONDE_SET(Float, static_cast<float>(*number)), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_ENUM:
    if (auto number = enum_from(value, *field_.enum_type()))
      return SONDE_SET(EnumValue, *number), Result<>{};
    return wrong_type(value, field_, path);
  case Field::CPPTYPE_STRING:
    return field_.type() == Field::TYPE_BYTES ? read_bytes(value, path) : read_string(value, path);
  case Field::CPPTYPE_MESSAGE:
    return read_message(value, path);
  }
  return wrong_type(value, field_, path);
}

Result<> FieldReader::read_string(const json::value& value, std::string_view path) {
  if (!value.is_string()) return wrong_type(value, field_, path);
  std::string text(value.get_string());
  // A URL can escape any byte; and PostgreSQL keeps no NUL in a text.
  bool valid = text.find('\0') == std::string::npos &&
               pb::internal::IsStructurallyValidUTF8(text.data(), static_cast<int>(text.size()));
  if (!valid)
    return base::invalid_argument(
               "WRONG_TYPE", fmt::format("{}: is not UTF-8 text without NUL characters", path))
        .at(path);
  SONDE_SET(String, std::move(text));
  return {};
}

Result<> FieldReader::read_bytes(const json::value& value, std::string_view path) {
  // The rest of the message is not touched: a temporary one takes the field alone.
  std::unique_ptr<pb::Message> alone(message_.New());
  auto text = fmt::format("{{\"{}\":{}}}", field_.json_name(), json::serialize(value));
  if (!value.is_string() || !pb::util::JsonStringToMessage(text, alone.get()).ok())
    return wrong_type(value, field_, path);
  message_.MergeFrom(*alone);
  return {};
}

Result<> FieldReader::read_message(const json::value& value, std::string_view path) {
  auto* child = field_.is_repeated() ? reflection_.AddMessage(&message_, &field_)
                                     : reflection_.MutableMessage(&message_, &field_);
  if (is_well_known(*field_.message_type())) {
    bool mask = field_.message_type()->full_name() == "google.protobuf.FieldMask";
    if (mask && !(value.is_string() && is_field_mask(value.get_string())))
      return wrong_type(value, field_, path);
    if (pb::util::JsonStringToMessage(json::serialize(value), child).ok()) return {};
    return wrong_type(value, field_, path);
  }
  if (!value.is_object()) return wrong_type(value, field_, path);
  return read_object(value.get_object(), *child, path);
}

Result<> read_map(
    const json::value& value, pb::Message& message, const Field& field, std::string_view path) {
  if (!value.is_object())
    return base::invalid_argument(
               "WRONG_TYPE",
               fmt::format("{}: {} is not an object of key and value", path, shown(value)))
        .at(path);
  const auto& reflection = *message.GetReflection();
  for (const auto& [key, element] : value.get_object()) {
    auto* entry = reflection.AddMessage(&message, &field);
    auto element_path = join(path, std::string_view(key));
    TRY(read_text(std::string_view(key), *entry, *field.message_type()->map_key(), element_path));
    TRY(FieldReader(*entry, *field.message_type()->map_value()).read(element, element_path));
  }
  return {};
}

Result<> read_field(
    const json::value& value, pb::Message& message, const Field& field, std::string_view path) {
  if (value.is_null()) return {};
  if (field.is_map()) return read_map(value, message, field, path);
  if (!field.is_repeated()) return FieldReader(message, field).read(value, path);
  if (!value.is_array())
    return base::invalid_argument(
               "WRONG_TYPE", fmt::format("{}: {} is not a list", path, shown(value)))
        .at(path);
  size_t index = 0;
  for (const auto& element : value.get_array()) {
    TRY(FieldReader(message, field).read(element, fmt::format("{}[{}]", path, index)));
    ++index;
  }
  return {};
}

Result<> check_oneof(const pb::Message& message, const Field& field, std::string_view path) {
  const auto* oneof = field.real_containing_oneof();
  if (!oneof || !message.GetReflection()->HasOneof(message, oneof)) return {};
  const auto* other = message.GetReflection()->GetOneofFieldDescriptor(message, oneof);
  return base::invalid_argument(
             "ONEOF_CONFLICT", fmt::format("{}: excludes {}", path, other->json_name()))
      .at(path);
}

Result<> read_object(const json::object& object, pb::Message& message, std::string_view path) {
  for (const auto& [key, value] : object) {
    auto field_path = join(path, std::string_view(key));
    const auto* field = find_field(*message.GetDescriptor(), key);
    if (!field)
      return base::invalid_argument(
                 "UNKNOWN_FIELD",
                 fmt::format(
                     "{}: {} has no such field", field_path, message.GetDescriptor()->name()))
          .at(field_path);
    if (value.is_null()) continue;
    TRY(check_oneof(message, *field, field_path));
    TRY(read_field(value, message, *field, field_path));
  }
  return {};
}

Result<json::value> parse(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = kJsonDepthMax;
  json::stream_parser parser({}, options);
  auto read = parser.write_some(text.data(), text.size(), error);
  if (!error && text.find_first_not_of(" \t\r\n", read) != std::string_view::npos)
    error = json::error::extra_data;
  if (!error) parser.finish(error);
  if (error)
    return base::invalid_argument(
        "INVALID_JSON", fmt::format("the body is not JSON: {} at byte {}", error.message(), read));
  return parser.release();
}

} // namespace

const Field* find_field(const pb::Descriptor& type, std::string_view name) {
  for (int i = 0; i < type.field_count(); ++i) {
    const auto* field = type.field(i);
    if (field->json_name() == name || field->name() == name) return field;
  }
  return nullptr;
}

Result<> read_json(std::string_view text, pb::Message& message, std::string_view path) {
  auto value = TRY(parse(text));
  if (!value.is_object())
    return base::invalid_argument(
               "WRONG_TYPE", fmt::format("the body {} is not an object", shown(value)))
        .at(path);
  return read_object(value.get_object(), message, path);
}

Result<> read_json_field(std::string_view text, pb::Message& message, const Field& field) {
  auto value = TRY(parse(text));
  if (value.is_null()) return {};
  return read_field(value, message, field, field.json_name());
}

Result<>
read_text(std::string_view text, pb::Message& message, const Field& field, std::string_view path) {
  json::value value = json::string(text);
  if (field.cpp_type() == Field::CPPTYPE_BOOL) {
    if (text == "true") value = true;
    if (text == "false") value = false;
  }
  if (field.cpp_type() == Field::CPPTYPE_MESSAGE && !is_well_known(*field.message_type()))
    return wrong_type(value, field, path);
  if (field.cpp_type() == Field::CPPTYPE_ENUM) {
    int number{}; // a URL has no types: digits are a number
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size()) value = number;
  }
  return FieldReader(message, field).read(value, path);
}

} // namespace controlplane::edge
