// UploadRequest as bytes: the traces are not copied, and a resend sends the same slices.
#pragma once

#include "agent/telemetry/telemetry.h"

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <string_view>

namespace agent::exporter {

// Takes `batch.traces`.
grpc::ByteBuffer
encode_upload(std::string_view boot_id, uint64_t batch_number, telemetry::SessionBatch& batch);

} // namespace agent::exporter
