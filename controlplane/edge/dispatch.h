// One door for every RPC, whatever transport it came by: authenticates, authorises, decodes, runs
// the use case, audits and measures. A transport hands in credentials and a way to decode; it
// cannot hand in a caller.
#pragma once

#include "base/result.h"
#include "controlplane/edge/authenticator.h"
#include "controlplane/edge/call_metrics.h"
#include "controlplane/edge/method_table.h"

#include <google/protobuf/message.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::edge {

using MessagePtr = std::unique_ptr<google::protobuf::Message>;

// Some answers of a server stream.
struct StreamBatch {
  std::vector<MessagePtr> messages;
  bool ended = false; // nothing comes after these
};

// An open server stream. Polled by one thread at a time; blocks only on the store. What it holds
// between two polls is a cursor: a slow reader costs nothing but its own delay.
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // What is new; empty when nothing is.
  virtual base::Result<StreamBatch> poll() = 0;
};

// Who writes down that a call was allowed: the use case, in the transaction of what it changed, or
// the dispatch.
enum class AuditedBy { kUseCase, kDispatch };

// What the audit log is told: every decision about a method that changes something, and every
// denied one.
struct Decision {
  const model::Caller& caller;
  const Method& method;
  const google::protobuf::Message* request; // null when denied: then nothing was decoded
  const google::protobuf::Message* response;
  const base::Error* error; // null when the call succeeded
};

// A call as a transport brings it.
struct IncomingCall {
  const Method& method;
  const Credentials& credentials;
  std::string_view transport; // "grpc" or "rest", for metrics
  std::function<base::Result<MessagePtr>()> decode;
};

template <class T> struct Outcome {
  base::Result<T> result;
  std::string request_id;
};

// Build (add…) first, then share: call() and open() are thread-safe and block on the store.
class Dispatch {
 public:
  using Auditor = std::function<void(const Decision&)>;

  Dispatch(const Authenticator& authenticator, Auditor auditor, CallMetrics& metrics)
      : authenticator_(authenticator), auditor_(std::move(auditor)), metrics_(metrics) {}

  // `method` is the full name, "sonde.v1.SessionService.CreateSession"; `use_case` is called as
  // use_case(caller, request) and returns Result<Response>. Its service's other methods are known
  // from then on.
  template <class Request, class Response, class UseCase>
  void add(std::string_view method, UseCase use_case, AuditedBy audited = AuditedBy::kDispatch) {
    add_handler(
        method, Request::descriptor(), Response::descriptor(), audited,
        [use_case](const model::Caller& caller, const google::protobuf::Message& request)
            -> base::Result<MessagePtr> {
          auto response = use_case(caller, static_cast<const Request&>(request));
          if (!response) return std::move(response).error();
          return MessagePtr(std::make_unique<Response>(std::move(*response)));
        });
  }
  // `open` returns Result<std::unique_ptr<StreamSource>>.
  template <class Request, class Response, class Open>
  void add_stream(std::string_view method, Open open) {
    add_opener(
        method, Request::descriptor(), Response::descriptor(),
        [open](const model::Caller& caller, const google::protobuf::Message& request) {
          return open(caller, static_cast<const Request&>(request));
        });
  }
  // Ends the building: the table of all methods of all services that a handler was added for.
  base::Result<> finish();

  const MethodTable& methods() const { return table_; }
  // Whether call() or open() can serve it; streams with a service of their own cannot.
  bool serves(const Method& method) const;

  Outcome<MessagePtr> call(const IncomingCall& call) const;
  Outcome<std::unique_ptr<StreamSource>> open(const IncomingCall& call) const;
  // For what is not an RPC but needs a permission (/openapi.json, reflection).
  base::Result<model::Caller> admit(
      const Credentials& credentials, sonde::v1::Access::Permission permission,
      std::string_view what) const;

 private:
  using Handler = std::function<base::Result<MessagePtr>(
      const model::Caller&, const google::protobuf::Message&)>;
  using Opener = std::function<base::Result<std::unique_ptr<StreamSource>>(
      const model::Caller&, const google::protobuf::Message&)>;

  void add_handler(
      std::string_view method, const google::protobuf::Descriptor* request,
      const google::protobuf::Descriptor* response, AuditedBy audited, Handler handler);
  void add_opener(
      std::string_view method, const google::protobuf::Descriptor* request,
      const google::protobuf::Descriptor* response, Opener opener);
  // The common way in; `run` gets the caller and the decoded request.
  template <class T, class Run> Outcome<T> admit_and_run(const IncomingCall& call, Run run) const;

  const Authenticator& authenticator_;
  const Auditor auditor_;
  CallMetrics& metrics_;
  MethodTable table_;
  std::map<std::string, Handler, std::less<>> handlers_; // by gRPC path
  std::set<std::string, std::less<>> audit_themselves_;  // gRPC paths
  std::map<std::string, Opener, std::less<>> openers_;
  std::vector<const google::protobuf::FileDescriptor*> files_;
};

} // namespace controlplane::edge
