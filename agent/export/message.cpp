#include "agent/export/message.h"

#include "sonde/v1/agent_results_service.pb.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <array>
#include <memory>
#include <string>

namespace agent::exporter {
namespace {

// tag and length of the field `traces`, whose bytes follow in a slice of their own.
std::string traces_header(size_t size) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.WriteTag(sonde::v1::UploadRequest::kTracesFieldNumber << 3 | 2);
  coded.WriteVarint64(size);
  coded.Trim();
  return out;
}

grpc::Slice owning_slice(std::string bytes) {
  auto owned = std::make_unique<std::string>(std::move(bytes));
  char* data = owned->data();
  const size_t size = owned->size();
  return grpc::Slice(
      data, size, [](void* string) { delete static_cast<std::string*>(string); }, owned.release());
}

} // namespace

grpc::ByteBuffer
encode_upload(std::string_view boot_id, uint64_t batch_number, telemetry::SessionBatch& batch) {
  sonde::v1::UploadRequest head;
  head.set_boot_id(std::string(boot_id));
  head.set_batch(batch_number);
  head.set_session_id(batch.session_id);
  for (const auto& [reason, count] : batch.losses) {
    auto& loss = *head.add_losses();
    loss.set_reason(reason);
    loss.set_count(count);
  }
  std::string head_bytes = head.SerializeAsString();
  if (batch.traces.empty()) {
    const grpc::Slice slice = owning_slice(std::move(head_bytes));
    return {&slice, 1};
  }
  head_bytes += traces_header(batch.traces.size());
  const std::array<grpc::Slice, 2> slices = {
      owning_slice(std::move(head_bytes)), owning_slice(std::move(batch.traces))};
  return {slices.data(), slices.size()};
}

} // namespace agent::exporter
