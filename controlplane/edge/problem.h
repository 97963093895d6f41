// base::Error as the two transports say it: google.rpc.Status with details, and RFC 9457
// problem+json. The one place where errors are mapped. Pure.
#pragma once

#include "base/error.h"

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

namespace controlplane::edge {

// Code and message, and google.rpc.Status in the details: ErrorInfo(reason, domain "sonde",
// requestId), and BadRequest when a field is at fault.
grpc::Status to_grpc_status(const base::Error& error, std::string_view request_id);

// By code, and by reason where HTTP knows better (413, 415, 431, 405).
unsigned http_status(const base::Error& error);

struct Problem {
  unsigned status = 500;
  std::string body; // application/problem+json
};

// `instance` is the path of the request; `body_field` is what the HTTP body stands for (""; "*";
// "session"): a field inside of it is named as the caller wrote it.
Problem to_problem(
    const base::Error& error, std::string_view instance, std::string_view request_id,
    std::string_view body_field = "");

} // namespace controlplane::edge
