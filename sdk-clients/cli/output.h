// Messages as JSON (protobuf's canonical form; OTLP's own for traces) and as the same in YAML.
// Pure.
#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace cli {

enum class Format { kTable, kJson, kYaml };

// Ends with a newline. `format` is kJson (indented) or kYaml.
std::string format_message(const google::protobuf::Message& message, Format format);
// One line, for streams of messages.
std::string format_json_line(const google::protobuf::Message& message);

} // namespace cli
