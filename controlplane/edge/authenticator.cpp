#include "controlplane/edge/authenticator.h"

#include <boost/algorithm/string/predicate.hpp>
#include <grpcpp/server_context.h>

namespace controlplane::edge {
namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr char kCertificateProperty[] = "x509_pem_cert";

base::Result<std::string_view> bearer_token(std::string_view authorization) {
  if (!boost::algorithm::istarts_with(authorization, kBearer))
    return base::Error{
        base::Code::kUnauthenticated,
        "INVALID_AUTHORIZATION",
        "the authorization is not of the form \"Bearer <token>\"",
        {}};
  auto token = authorization.substr(kBearer.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  return token;
}

} // namespace

Credentials credentials_of(const grpc::ServerContextBase& context) {
  Credentials credentials;
  const auto& metadata = context.client_metadata();
  if (auto found = metadata.find("authorization"); found != metadata.end())
    credentials.authorization.assign(found->second.data(), found->second.size());
  if (auto authentication = context.auth_context()) {
    auto certificates = authentication->FindPropertyValues(kCertificateProperty);
    if (!certificates.empty())
      credentials.certificate_pem.assign(certificates[0].data(), certificates[0].size());
  }
  credentials.address = context.peer();
  return credentials;
}

base::Result<model::Caller> Authenticator::authenticate(const Credentials& credentials) const {
  model::Caller caller;
  caller.name = "anonymous";
  if (!credentials.authorization.empty()) {
    auto token = TRY(bearer_token(credentials.authorization));
    caller = TRY(tokens_(token));
  } else if (!credentials.certificate_pem.empty()) {
    caller = TRY(certificates_(credentials.certificate_pem));
  }
  caller.address = credentials.address;
  return caller;
}

} // namespace controlplane::edge
