#include "controlplane/edge/reflection.h"

#include "controlplane/edge/problem.h"
#include "grpc_reflection/v1alpha/reflection.pb.h"

#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <set>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

constexpr std::string_view kMethods[] = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};

// A file and, before it, what it imports.
void add_file(
    const pb::FileDescriptor& file, std::set<std::string>& sent,
    ServerReflectionResponse& response) {
  if (!sent.insert(file.name()).second) return;
  pb::FileDescriptorProto proto;
  file.CopyTo(&proto);
  response.mutable_file_descriptor_response()->add_file_descriptor_proto(proto.SerializeAsString());
  for (int i = 0; i < file.dependency_count(); ++i) add_file(*file.dependency(i), sent, response);
}

void list_services(const MethodTable& methods, ServerReflectionResponse& response) {
  std::set<std::string> names;
  for (const auto& method : methods.methods())
    names.insert(method.descriptor->service()->full_name());
  for (const auto& name : names)
    response.mutable_list_services_response()->add_service()->set_name(name);
}

void answer_file(const pb::FileDescriptor* file, ServerReflectionResponse& response) {
  std::set<std::string> sent;
  if (file) return add_file(*file, sent, response);
  response.mutable_error_response()->set_error_code(static_cast<int>(base::Code::kNotFound));
  response.mutable_error_response()->set_error_message("not in this program's contract");
}

void answer_extension_numbers(const pb::Descriptor* type, ServerReflectionResponse& response) {
  if (!type) return answer_file(nullptr, response);
  auto* numbers = response.mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type->full_name());
  std::vector<const pb::FieldDescriptor*> extensions;
  type->file()->pool()->FindAllExtensions(type, &extensions);
  for (const auto* extension : extensions) numbers->add_extension_number(extension->number());
}

ServerReflectionResponse
answer(const ServerReflectionRequest& request, const MethodTable& methods) {
  const auto* pool = pb::DescriptorPool::generated_pool();
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
  case ServerReflectionRequest::kListServices:
    list_services(methods, response);
    break;
  case ServerReflectionRequest::kFileByFilename:
    answer_file(pool->FindFileByName(request.file_by_filename()), response);
    break;
  case ServerReflectionRequest::kFileContainingSymbol:
    answer_file(pool->FindFileContainingSymbol(request.file_containing_symbol()), response);
    break;
  case ServerReflectionRequest::kFileContainingExtension: {
    const auto& wanted = request.file_containing_extension();
    const auto* type = pool->FindMessageTypeByName(wanted.containing_type());
    const auto* extension =
        type ? pool->FindExtensionByNumber(type, wanted.extension_number()) : nullptr;
    answer_file(extension ? extension->file() : nullptr, response);
    break;
  }
  case ServerReflectionRequest::kAllExtensionNumbersOfType:
    answer_extension_numbers(
        pool->FindMessageTypeByName(request.all_extension_numbers_of_type()), response);
    break;
  case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
    response.mutable_error_response()->set_error_code(
        static_cast<int>(base::Code::kInvalidArgument));
    response.mutable_error_response()->set_error_message("the request asks for nothing");
    break;
  }
  return response;
}

// One reflection stream: question, answer, question, answer. Nothing blocks, so gRPC's thread does
// it all.
class Reflection final : public grpc::ServerGenericBidiReactor {
 public:
  Reflection(const Dispatch& dispatch, const Credentials& credentials)
      : methods_(dispatch.methods()) {
    auto admitted = dispatch.admit(credentials, sonde::v1::Access::READ, "reflection");
    if (admitted)
      StartRead(&bytes_);
    else
      Finish(to_grpc_status(admitted.error(), ""));
  }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    ServerReflectionRequest request;
    auto read = grpc::GenericDeserialize<grpc::ProtoBufferReader, ServerReflectionRequest>(
        &bytes_, &request);
    if (!read.ok()) return Finish(read);
    bool own_buffer = false;
    bytes_.Clear();
    auto written = grpc::GenericSerialize<grpc::ProtoBufferWriter, ServerReflectionResponse>(
        answer(request, methods_), &bytes_, &own_buffer);
    if (!written.ok()) return Finish(written);
    StartWrite(&bytes_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    bytes_.Clear();
    StartRead(&bytes_);
  }
  void OnDone() override { delete this; }

 private:
  const MethodTable& methods_;
  grpc::ByteBuffer bytes_;
};

} // namespace

bool is_reflection(std::string_view grpc_method) {
  return grpc_method == kMethods[0] || grpc_method == kMethods[1];
}

grpc::ServerGenericBidiReactor* reflect(const Dispatch& dispatch, const Credentials& credentials) {
  return new Reflection(dispatch, credentials);
}

} // namespace controlplane::edge
