// The RPCs of the contract, as their descriptors say: permission, HTTP bindings, message types.
// Everything generic at the edge (dispatch, transcoding, OpenAPI) reads this table.
#pragma once

#include "base/result.h"
#include "controlplane/edge/path_template.h"
#include "sonde/v1/access.pb.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::edge {

struct HttpBinding {
  std::string verb; // "GET"
  PathTemplate path;
  std::string body;          // "", "*" or the name of a field
  std::string response_body; // "" or the name of a field
};

struct Method {
  const google::protobuf::MethodDescriptor* descriptor;
  std::string grpc_path; // "/sonde.v1.SessionService/CreateSession"
  sonde::v1::Access::Permission permission;
  std::vector<HttpBinding> bindings;
  const google::protobuf::Message* request; // prototypes, owned by the message factory
  const google::protobuf::Message* response;

  // A method that changes something: it is audited.
  bool mutates() const {
    return permission == sonde::v1::Access::OPERATE || permission == sonde::v1::Access::ADMINISTER;
  }
  bool streams() const { return descriptor->server_streaming() || descriptor->client_streaming(); }
};

// Immutable once built; thread-safe.
class MethodTable {
 public:
  struct Route {
    const Method* method;
    const HttpBinding* binding;
    std::vector<PathCapture> captures;
  };

  // Every method of every service in the files that are linked in and whose package is `package`;
  // the services are found through `files`: one message of each is enough.
  static base::Result<MethodTable>
  from(const std::vector<const google::protobuf::FileDescriptor*>& files);

  const Method* find(std::string_view grpc_path) const;
  // NOT_FOUND (NO_SUCH_PATH), or UNIMPLEMENTED (METHOD_NOT_ALLOWED) with the verbs that would do.
  base::Result<Route> route(std::string_view http_verb, std::string_view path) const;
  // The verbs of the bindings that match a path: "GET, POST".
  std::string allowed(std::string_view path) const;
  const std::vector<Method>& methods() const { return methods_; }

 private:
  std::vector<Method> methods_;
};

} // namespace controlplane::edge
