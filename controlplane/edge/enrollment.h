// EnrollmentService over gRPC.
#pragma once

#include "controlplane/identity/enrollment.h"

#include <grpcpp/impl/codegen/service_type.h>

#include <functional>
#include <memory>

namespace controlplane::edge {

// Runs a call on the pool of workers that may block; false when the pool is full.
using Executor = std::function<bool(std::function<void()>)>;

// Both must outlive the server.
std::unique_ptr<grpc::Service>
make_enrollment_service(identity::Enrollment& enrollment, Executor executor);

} // namespace controlplane::edge
