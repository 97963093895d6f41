// Canonical proto3 JSON into messages, strictly: what does not fit is refused with the path of the
// field. (protobuf's own reader takes "yes" for a bool and an object for a list of one.) Pure.
#pragma once

#include "base/result.h"

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace controlplane::edge {

// Merges a JSON object into `message`. INVALID_JSON with the byte where it ends to be JSON;
// UNKNOWN_FIELD, WRONG_TYPE or ONEOF_CONFLICT with the field's path ("probes[0].http.side"), below
// `path`. Null means absent.
base::Result<>
read_json(std::string_view json, google::protobuf::Message& message, std::string_view path = "");

// The same, for one field of `message` whose value is the whole text (body: "session").
base::Result<> read_json_field(
    std::string_view json, google::protobuf::Message& message,
    const google::protobuf::FieldDescriptor& field);

// One value as text, as it stands in a URL: scalars, enums, Duration, Timestamp and FieldMask.
// Appends to repeated fields. WRONG_TYPE with `path` when it does not fit.
base::Result<> read_text(
    std::string_view text, google::protobuf::Message& message,
    const google::protobuf::FieldDescriptor& field, std::string_view path);

// By its JSON name or its proto name; null when there is none.
const google::protobuf::FieldDescriptor*
find_field(const google::protobuf::Descriptor& type, std::string_view name);

} // namespace controlplane::edge
