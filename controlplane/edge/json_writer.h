// Messages as canonical proto3 JSON; OTLP messages in the shape that OTLP/JSON has. Pure.
#pragma once

#include "base/result.h"

#include <google/protobuf/message.h>

#include <string>

namespace controlplane::edge {

// Names in lowerCamelCase, fields at their default left out. In OTLP messages ids are hexadecimal
// and enums are integers (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
// INTERNAL for a message that JSON cannot say, such as a string that is not UTF-8.
base::Result<std::string> write_json(const google::protobuf::Message& message);

} // namespace controlplane::edge
