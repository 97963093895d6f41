// Who is calling, for both transports: the only place where a Caller is made of what came over the
// wire.
#pragma once

#include "base/result.h"
#include "controlplane/model/caller.h"

#include <functional>
#include <string>
#include <string_view>

namespace grpc {
class ServerContextBase;
}

namespace controlplane::edge {

// What a connection and a call bring along.
struct Credentials {
  std::string authorization;   // the header, as it came: "Bearer …"; empty without one
  std::string certificate_pem; // that the peer has the key of; nobody checked who signed it
  std::string address;         // of the peer
};

// Of a gRPC call: metadata, client certificate, peer.
Credentials credentials_of(const grpc::ServerContextBase& context);

class Authenticator {
 public:
  // An API token, without "Bearer ", to the caller it stands for.
  using TokenLookup = std::function<base::Result<model::Caller>(std::string_view token)>;
  // A client certificate to the agent it stands for: checks who signed it, its time, and that the
  // agent is neither banned nor evicted.
  using CertificateLookup =
      std::function<base::Result<model::Caller>(std::string_view certificate_pem)>;

  Authenticator(TokenLookup tokens, CertificateLookup certificates)
      : tokens_(std::move(tokens)), certificates_(std::move(certificates)) {}

  // A token counts before a certificate. Without either: role kNone, name "anonymous".
  // UNAUTHENTICATED when what was given does not hold (INVALID_TOKEN, INVALID_AUTHORIZATION, and
  // the certificate's own reasons). Thread-safe.
  base::Result<model::Caller> authenticate(const Credentials& credentials) const;

 private:
  TokenLookup tokens_;
  CertificateLookup certificates_;
};

} // namespace controlplane::edge
