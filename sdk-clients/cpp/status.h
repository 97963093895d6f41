// What a gRPC status says, as an Error for the three readers.
#pragma once

#include "base/error.h"

#include <grpcpp/support/status.h>

#include <string>

namespace sonde {

// `server` and `ca_file` go into the sentences about connections that did not come about. The
// reason is the one of google.rpc.ErrorInfo; without it SERVER_UNREACHABLE, SERVER_NOT_TRUSTED,
// SERVER_SPEAKS_NO_TLS, DEADLINE_EXCEEDED or the code's own name. All field violations are in the
// message, the first one in `field`.
base::Error error_from_status(
    const grpc::Status& status, const std::string& server, const std::string& ca_file);

// The Kind of failure that passes by itself: the same call may succeed in a moment.
bool is_transient(const base::Error& error);

} // namespace sonde
