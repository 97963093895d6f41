#include "controlplane/push/desired_state.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

namespace controlplane::push {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

void append_varint(uint32_t value, std::string& bytes) {
  uint8_t buffer[5];
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(value, buffer);
  bytes.append(reinterpret_cast<char*>(buffer), static_cast<size_t>(end - buffer));
}

// Tag and length of a field that holds a message of `size` bytes.
std::string field_head(int number, size_t size) {
  std::string head;
  append_varint(WireFormatLite::MakeTag(number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), head);
  append_varint(static_cast<uint32_t>(size), head);
  return head;
}

} // namespace

EncodedAssignment encode(const sonde::v1::Assignment& assignment, base::Nanoseconds expires) {
  std::string body = assignment.SerializeAsString();
  auto field = std::make_shared<std::string>(
      field_head(sonde::v1::Delta::kAssignmentsFieldNumber, body.size()));
  *field += body;
  return {
      {assignment.key().type(), assignment.key().name()},
      assignment.version(),
      expires,
      std::move(field)};
}

EncodedMessage encode_delta(
    const sonde::v1::Delta& rest, const std::vector<std::shared_ptr<const std::string>>& fields) {
  std::string tail = rest.SerializeAsString();
  size_t size = tail.size();
  for (const auto& field : fields) size += field->size();
  auto head = std::make_shared<std::string>(
      field_head(sonde::v1::ConnectResponse::kDeltaFieldNumber, size));
  *head += tail;
  EncodedMessage message;
  message.pieces.push_back(std::move(head));
  message.pieces.insert(message.pieces.end(), fields.begin(), fields.end());
  return message;
}

EncodedMessage encode_message(const sonde::v1::ConnectResponse& message) {
  return {{std::make_shared<std::string>(message.SerializeAsString())}};
}

} // namespace controlplane::push
