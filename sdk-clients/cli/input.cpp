#include "sdk-clients/cli/input.h"

#include "sdk-clients/cli/limits.h"
#include "sdk-clients/cli/text.h"

#include <boost/json.hpp>
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstdio>
#include <memory>

namespace cli {

namespace json = boost::json;
using base::Error;
using base::Result;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

namespace {

// Translates YAML nodes to the JSON that protobuf reads, guided by the descriptor, so that every
// complaint can name its line.
class Translator {
 public:
  explicit Translator(std::string name) : name_(std::move(name)) {}

  Result<json::object> message(const YAML::Node& node, const Descriptor& type, int depth) const {
    if (depth > limits::kInputDepthMax) return complain(node, "nested too deep");
    if (!node.IsMap())
      return complain(node, fmt::format("expected the fields of a {}", type.name()));
    json::object object;
    for (const auto& entry : node) {
      const auto key = entry.first.as<std::string>();
      const auto* field = find_field(type, key);
      if (field == nullptr) return complain(entry.first, unknown_field(type, key));
      object[field->json_name()] = TRY(value(entry.second, *field, depth));
    }
    return object;
  }

 private:
  Error complain(const YAML::Node& node, const std::string& what) const {
    return base::invalid_argument(
        "FILE_INVALID", fmt::format("{}:{}: {}", name_, node.Mark().line + 1, what));
  }

  static const FieldDescriptor* find_field(const Descriptor& type, const std::string& key) {
    for (int i = 0; i < type.field_count(); ++i)
      if (type.field(i)->json_name() == key || type.field(i)->name() == key) return type.field(i);
    return nullptr;
  }

  static std::string unknown_field(const Descriptor& type, const std::string& key) {
    std::vector<std::string> known;
    for (int i = 0; i < type.field_count(); ++i) known.push_back(type.field(i)->json_name());
    const auto meant = nearest(key, known);
    return fmt::format(
        "unknown field \"{}\" in {}; {}", key, type.name(),
        meant.empty() ? fmt::format("known are {}", fmt::join(known, ", "))
                      : "did you mean \"" + meant + "\"?");
  }

  Result<json::value> value(const YAML::Node& node, const FieldDescriptor& field, int depth) const {
    if (field.is_map()) return map(node, field, depth);
    if (!field.is_repeated()) return single(node, field, depth);
    if (!node.IsSequence()) return complain(node, fmt::format("{} is a list", field.json_name()));
    json::array array;
    for (const auto& item : node) array.push_back(TRY(single(item, field, depth)));
    return json::value(std::move(array));
  }

  Result<json::value> map(const YAML::Node& node, const FieldDescriptor& field, int depth) const {
    if (!node.IsMap()) return complain(node, fmt::format("{} is a map", field.json_name()));
    json::object object;
    for (const auto& entry : node)
      object[entry.first.as<std::string>()] =
          TRY(single(entry.second, *field.message_type()->map_value(), depth));
    return json::value(std::move(object));
  }

  Result<json::value>
  single(const YAML::Node& node, const FieldDescriptor& field, int depth) const {
    if (field.type() != FieldDescriptor::TYPE_MESSAGE) return scalar(node, field);
    const auto& type = *field.message_type();
    if (type.full_name() == "google.protobuf.Duration") {
      const auto text = TRY(scalar_text(node, field));
      const auto duration = parse_duration(text);
      if (!duration) return complain(node, duration.error().message);
      const auto proto = to_proto(*duration);
      return json::value(fmt::format("{}.{:09}s", proto.seconds(), proto.nanos()));
    }
    if (type.full_name() == "google.protobuf.Timestamp")
      return json::value(TRY(scalar_text(node, field)));
    if (node.IsNull()) return json::value(json::object());
    return json::value(TRY(message(node, type, depth + 1)));
  }

  Result<std::string> scalar_text(const YAML::Node& node, const FieldDescriptor& field) const {
    if (!node.IsScalar())
      return complain(node, fmt::format("{} is a single value", field.json_name()));
    return node.Scalar();
  }

  Result<json::value> scalar(const YAML::Node& node, const FieldDescriptor& field) const {
    const auto text = TRY(scalar_text(node, field));
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      if (text != "true" && text != "false")
        return complain(
            node, fmt::format("{} is true or false, not \"{}\"", field.json_name(), text));
      return json::value(text == "true");
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      const auto* known = field.enum_type();
      if (known->FindValueByName(text) == nullptr) {
        std::vector<std::string> names;
        for (int i = 1; i < known->value_count(); ++i) names.push_back(known->value(i)->name());
        return complain(
            node,
            fmt::format(
                "{} is one of {}, not \"{}\"", field.json_name(), fmt::join(names, ", "), text));
      }
    }
    return json::value(text); // protobuf reads numbers from strings too, and checks them
  }

  std::string name_;
};

Result<std::unique_ptr<google::protobuf::Message>> parse_message(
    const std::string& name, const YAML::Node& node, const google::protobuf::Message& prototype) {
  const auto object = TRY(Translator(name).message(node, *prototype.GetDescriptor(), 0));
  std::unique_ptr<google::protobuf::Message> message(prototype.New());
  const auto status =
      google::protobuf::util::JsonStringToMessage(json::serialize(object), message.get());
  if (!status.ok())
    return base::invalid_argument(
        "FILE_INVALID",
        fmt::format("{}:{}: {}", name, node.Mark().line + 1, std::string(status.message())));
  return message;
}

} // namespace

Result<std::string> read_input(const std::string& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> opened(nullptr, &std::fclose);
  FILE* file = stdin;
  if (path != "-") {
    opened.reset(std::fopen(path.c_str(), "re"));
    file = opened.get();
  }
  if (file == nullptr) {
    auto error = base::errno_error("open " + path, errno);
    error.reason = "FILE_UNREADABLE";
    return error;
  }
  std::string text(limits::kInputBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  if (std::ferror(file) != 0) {
    auto error = base::errno_error("read " + path, errno);
    error.reason = "FILE_UNREADABLE";
    return error;
  }
  if (text.size() > limits::kInputBytesMax)
    return base::invalid_argument(
        "FILE_TOO_LARGE", fmt::format("{} has more than {} bytes", path, limits::kInputBytesMax));
  return text;
}

Result<std::vector<std::unique_ptr<google::protobuf::Message>>> parse_messages(
    const std::string& name, const std::string& text, const google::protobuf::Message& prototype) {
  std::vector<std::unique_ptr<google::protobuf::Message>> messages;
  try {
    for (const auto& document : YAML::LoadAll(text)) {
      if (document.IsNull()) continue;
      if (!document.IsSequence()) {
        messages.push_back(TRY(parse_message(name, document, prototype)));
        continue;
      }
      for (const auto& node : document)
        messages.push_back(TRY(parse_message(name, node, prototype)));
    }
  } catch (const YAML::Exception& error) {
    return base::invalid_argument(
        "FILE_INVALID", fmt::format("{}:{}: {}", name, error.mark.line + 1, error.msg));
  }
  if (messages.empty())
    return base::invalid_argument(
        "FILE_INVALID",
        fmt::format("{}: there is no {} in it", name, prototype.GetDescriptor()->name()));
  return messages;
}

} // namespace cli
