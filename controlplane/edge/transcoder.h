// An HTTP request as the request message of an RPC, as google.api.http says. Pure; every RPC alike.
#pragma once

#include "base/result.h"
#include "controlplane/edge/method_table.h"

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>

namespace controlplane::edge {

// Body, then query, then path: what stands in the path wins. Errors carry the field's path from the
// root of the request message: UNKNOWN_FIELD, WRONG_TYPE, INVALID_JSON, ONEOF_CONFLICT,
// UNEXPECTED_BODY, REPEATED_PARAMETER.
base::Result<std::unique_ptr<google::protobuf::Message>>
to_request(const MethodTable::Route& route, std::string_view query, std::string_view body);

// The answer as JSON: the message, or the field that response_body names.
base::Result<std::string>
to_response_body(const HttpBinding& binding, const google::protobuf::Message& response);

} // namespace controlplane::edge
