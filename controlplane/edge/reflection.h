// gRPC server reflection (v1 and v1alpha, whose messages are the same on the wire), for callers
// with permission READ: the stock plugin would answer anybody, and knows nothing of a generic
// service.
#pragma once

#include "controlplane/edge/dispatch.h"

#include <grpcpp/generic/async_generic_service.h>

#include <string_view>

namespace controlplane::edge {

bool is_reflection(std::string_view grpc_method);
// Serves one stream; deletes itself.
grpc::ServerGenericBidiReactor* reflect(const Dispatch& dispatch, const Credentials& credentials);

} // namespace controlplane::edge
