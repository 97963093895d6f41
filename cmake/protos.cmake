# Third-party descriptors come from pinned, hash-checked PyPI wheels (api/third_party.txt) at configure time:
# build/…/third_party.binpb is a FileDescriptorSet with OTLP, google.api and google.rpc in it, and protoc makes
# C++ of it and of our own protos. Nothing of it is in the tree.
set(THIRD_PARTY_DESCRIPTORS ${PROJECT_BINARY_DIR}/third_party.binpb)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/api/third_party.txt ${PROJECT_SOURCE_DIR}/tools/third_party_descriptors.py)
if(NOT EXISTS ${THIRD_PARTY_DESCRIPTORS} OR
   ${PROJECT_SOURCE_DIR}/api/third_party.txt IS_NEWER_THAN ${THIRD_PARTY_DESCRIPTORS})
  execute_process(
    COMMAND /usr/bin/python3 ${PROJECT_SOURCE_DIR}/tools/third_party_descriptors.py
      ${PROJECT_SOURCE_DIR}/api/third_party.txt ${PROJECT_SOURCE_DIR}/.cache/wheels ${THIRD_PARTY_DESCRIPTORS}
    COMMAND_ERROR_IS_FATAL ANY)
endif()
set(THIRD_PARTY_PROTOS
  google/api/annotations.proto
  google/api/field_behavior.proto
  google/api/http.proto
  google/rpc/code.proto
  google/rpc/error_details.proto
  google/rpc/status.proto
  grpc_reflection/v1alpha/reflection.proto
  opentelemetry/proto/common/v1/common.proto
  opentelemetry/proto/resource/v1/resource.proto
  opentelemetry/proto/trace/v1/trace.proto
  opentelemetry/proto/collector/trace/v1/trace_service.proto)
