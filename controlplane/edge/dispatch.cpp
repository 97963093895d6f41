#include "controlplane/edge/dispatch.h"

#include "base/check.h"
#include "base/hex.h"
#include "controlplane/identity/permission.h"

#include <fmt/format.h>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;
using base::Result;

Result<> check_rights(const model::Caller& caller, const Method& method) {
  return identity::authorize(caller, method.permission, method.descriptor->name());
}

bool is_denied(const base::Error& error) {
  return error.code == base::Code::kPermissionDenied || error.code == base::Code::kUnauthenticated;
}

const pb::MethodDescriptor*
find_method(std::string_view name, const pb::Descriptor* request, const pb::Descriptor* response) {
  const auto* method = request->file()->pool()->FindMethodByName(std::string(name));
  // A handler of the wrong type would read one message as another.
  CHECK(method && method->input_type() == request && method->output_type() == response);
  return method;
}

std::string grpc_path(const pb::MethodDescriptor& method) {
  return fmt::format("/{}/{}", method.service()->full_name(), method.name());
}

} // namespace

void Dispatch::add_handler(
    std::string_view method, const pb::Descriptor* request, const pb::Descriptor* response,
    AuditedBy audited, Handler handler) {
  const auto* descriptor = find_method(method, request, response);
  files_.push_back(descriptor->file());
  if (audited == AuditedBy::kUseCase) audit_themselves_.insert(grpc_path(*descriptor));
  handlers_[grpc_path(*descriptor)] = std::move(handler);
}

void Dispatch::add_opener(
    std::string_view method, const pb::Descriptor* request, const pb::Descriptor* response,
    Opener opener) {
  const auto* descriptor = find_method(method, request, response);
  files_.push_back(descriptor->file());
  openers_[grpc_path(*descriptor)] = std::move(opener);
}

Result<> Dispatch::finish() {
  table_ = TRY(MethodTable::from(files_));
  return {};
}

bool Dispatch::serves(const Method& method) const {
  return handlers_.contains(method.grpc_path) || openers_.contains(method.grpc_path);
}

template <class T, class Run>
Outcome<T> Dispatch::admit_and_run(const IncomingCall& call, Run run) const {
  auto begin = std::chrono::steady_clock::now();
  const auto request_id = base::new_uuid();
  model::Caller caller; // as whom the call is audited when authentication fails
  caller.name = "unknown";
  caller.address = call.credentials.address;
  caller.request_id = request_id;
  MessagePtr request;
  auto result = [&]() -> Result<T> {
    caller = TRY(authenticator_.authenticate(call.credentials));
    caller.request_id = request_id;
    TRY(check_rights(caller, call.method));
    request = TRY(call.decode());
    return run(caller, *request);
  }();
  const auto* error = result ? nullptr : &result.error();
  metrics_.record(
      call.method.descriptor->name(), call.transport, error ? error->code : base::Code::kOk,
      std::chrono::steady_clock::now() - begin);
  bool written_already = !error && audit_themselves_.contains(call.method.grpc_path);
  if ((call.method.mutates() && !written_already) || (error && is_denied(*error))) {
    const pb::Message* response = nullptr;
    if constexpr (std::is_same_v<T, MessagePtr>) response = error ? nullptr : result->get();
    auditor_({caller, call.method, request.get(), response, error});
  }
  return {std::move(result), request_id};
}

Outcome<MessagePtr> Dispatch::call(const IncomingCall& call) const {
  return admit_and_run<MessagePtr>(
      call, [&](const model::Caller& caller, const pb::Message& request) -> Result<MessagePtr> {
        auto handler = handlers_.find(call.method.grpc_path);
        if (handler == handlers_.end())
          return base::Error{
              base::Code::kUnimplemented,
              "UNIMPLEMENTED",
              call.method.descriptor->name() + " is not served here",
              {}};
        return handler->second(caller, request);
      });
}

Outcome<std::unique_ptr<StreamSource>> Dispatch::open(const IncomingCall& call) const {
  using Source = std::unique_ptr<StreamSource>;
  return admit_and_run<Source>(
      call, [&](const model::Caller& caller, const pb::Message& request) -> Result<Source> {
        auto opener = openers_.find(call.method.grpc_path);
        if (opener == openers_.end())
          return base::Error{
              base::Code::kUnimplemented,
              "UNIMPLEMENTED",
              call.method.descriptor->name() + " is not served here",
              {}};
        return opener->second(caller, request);
      });
}

Result<model::Caller> Dispatch::admit(
    const Credentials& credentials, sonde::v1::Access::Permission permission,
    std::string_view what) const {
  auto caller = TRY(authenticator_.authenticate(credentials));
  TRY(identity::authorize(caller, permission, what));
  return caller;
}

} // namespace controlplane::edge
