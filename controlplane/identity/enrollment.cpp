#include "controlplane/identity/enrollment.h"

#include "base/hex.h"
#include "base/join_token.h"
#include "base/log.h"
#include "controlplane/identity/limits.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/credentials.h"
#include "controlplane/store/join_tokens.h"

namespace controlplane::identity {
namespace {

using base::Code;
using base::Error;
using base::RequestedKey;
using base::Result;
using sonde::v1::EnrollRequest;
using sonde::v1::EnrollResponse;
using sonde::v1::RenewRequest;
using sonde::v1::RenewResponse;
using store::Standing;
using store::Transaction;

google::protobuf::Timestamp to_timestamp(base::Nanoseconds wall_time) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(wall_time.count() / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(wall_time.count() % 1'000'000'000));
  return timestamp;
}

Error banned() {
  return {
      Code::kPermissionDenied,
      "AGENT_BANNED",
      "this agent is banned: an administrator decided that it may not enroll again",
      {}};
}

Error evicted() {
  return {
      Code::kPermissionDenied,
      "AGENT_EVICTED",
      "this agent was evicted: enroll it again with a new join token",
      {}};
}

Result<> check_standing(Standing standing) {
  if (standing == Standing::kBanned) return banned();
  if (standing == Standing::kEvicted) return evicted();
  return {};
}

Error used_token() {
  return base::failed_precondition(
             "JOIN_TOKEN_USED", "this join token was used by another host: create a new one")
      .at("joinToken");
}

// The agent of a used token: the same one again, for the host whose reply was lost.
Result<std::string>
agent_of_used_token(Transaction& tx, const store::StoredJoinToken& token, const RequestedKey& key) {
  if (token.public_key_sha256 != key.sha256 || token.agent_id.empty()) return used_token();
  Standing standing = TRY(store::find_standing(tx, token.agent_id));
  TRY(check_standing(standing));
  return token.agent_id;
}

// A host that enrolls again with its old key takes the place of its former self. A banned key stays
// out.
Result<> retire_former_selves(Transaction& tx, const RequestedKey& key) {
  for (const store::KeyHolder& holder : TRY(store::find_key_holders(tx, key.sha256))) {
    if (holder.standing == Standing::kBanned) return banned();
    if (holder.standing == Standing::kEvicted) continue;
    TRY(store::revoke_credentials(tx, holder.agent_id));
    TRY(store::set_standing(tx, holder.agent_id, Standing::kEvicted));
  }
  return {};
}

Result<std::string> agent_of_unused_token(
    Transaction& tx, const store::StoredJoinToken& token, const RequestedKey& key,
    std::string_view hostname) {
  TRY(retire_former_selves(tx, key));
  std::string agent_id = base::new_uuid();
  TRY(store::insert_agent(tx, agent_id, hostname.substr(0, kHostnameBytesMax), token.labels));
  TRY(store::use_join_token(tx, token.id, agent_id, key.sha256));
  return agent_id;
}

Result<std::string> agent_of_token(
    Transaction& tx, std::string_view secret_sha256, const RequestedKey& key,
    std::string_view hostname) {
  auto token = TRY(store::lock_join_token(tx, secret_sha256));
  if (!token)
    return Error{
        Code::kUnauthenticated, "JOIN_TOKEN_UNKNOWN",
        "there is no such join token: create one with `sonde token create`", "joinToken"};
  if (token->expired)
    return base::failed_precondition(
               "JOIN_TOKEN_EXPIRED", "this join token has expired: create a new one")
        .at("joinToken");
  if (token->used) return agent_of_used_token(tx, *token, key);
  return agent_of_unused_token(tx, *token, key, hostname);
}

} // namespace

Result<Authority>
open_authority(store::Pool& pool, Authority::Options options, const base::Clock& clock) {
  auto registered =
      TRY(pool.transaction([](Transaction& tx) { return store::find_authority(tx); }));
  Authority authority = TRY(Authority::open(std::move(options), clock, !registered));
  std::string kept = TRY(pool.transaction([&](Transaction& tx) {
    return store::register_authority(tx, authority.sha256(), authority.certificate_pem());
  }));
  if (kept != authority.sha256())
    return base::failed_precondition(
        "AUTHORITY_MISMATCH", "the certificate authority in " +
                                  authority.options().directory.string() +
                                  " is not the one of this installation: copy authority.key and "
                                  "authority.crt from another replica");
  return authority;
}

Result<IssuedCertificate>
Enrollment::issue_and_track(Transaction& tx, std::string_view agent_id, const RequestedKey& key) {
  IssuedCertificate issued = TRY(authority_.issue_agent(agent_id, key));
  TRY(store::insert_credential(
      tx, {issued.serial, std::string(agent_id), key.sha256, to_timestamp(issued.not_after)}));
  return issued;
}

Result<EnrollResponse>
Enrollment::enroll(const EnrollRequest& request, std::string_view peer_address) {
  base::JoinToken token = TRY(base::JoinToken::parse(request.join_token()));
  if (token.authority_sha256 != authority_.sha256())
    return Error{
        Code::kUnauthenticated, "JOIN_TOKEN_UNKNOWN",
        "this join token belongs to another control plane", "joinToken"};
  RequestedKey key = TRY(base::read_certificate_request(request.certificate_request()));
  auto response = pool_.transaction([&](Transaction& tx) -> Result<EnrollResponse> {
    std::string agent_id = TRY(agent_of_token(tx, token.secret_sha256(), key, request.hostname()));
    IssuedCertificate issued = TRY(issue_and_track(tx, agent_id, key));
    EnrollResponse answer;
    answer.set_agent_id(agent_id);
    answer.set_certificate_chain(issued.chain_pem);
    answer.set_authorities(authority_.certificate_pem());
    *answer.mutable_expire_time() = to_timestamp(issued.not_after);
    return answer;
  });
  if (response.ok())
    base::log::info("enrolled agent {} from {}", response->agent_id(), peer_address);
  return response;
}

Result<RenewResponse> Enrollment::renew(const std::string& agent_id, const RenewRequest& request) {
  RequestedKey key = TRY(base::read_certificate_request(request.certificate_request()));
  return pool_.transaction([&](Transaction& tx) -> Result<RenewResponse> {
    for (const store::KeyHolder& holder : TRY(store::find_key_holders(tx, key.sha256)))
      if (holder.standing == Standing::kBanned) return banned();
    Standing standing = TRY(store::find_standing(tx, agent_id));
    TRY(check_standing(standing));
    IssuedCertificate issued = TRY(issue_and_track(tx, agent_id, key));
    RenewResponse response;
    response.set_certificate_chain(issued.chain_pem);
    response.set_authorities(authority_.certificate_pem());
    *response.mutable_expire_time() = to_timestamp(issued.not_after);
    return response;
  });
}

Result<AgentCertificate> Enrollment::verify(std::string_view certificate_pem) const {
  if (certificate_pem.empty())
    return Error{
        Code::kUnauthenticated,
        "CERTIFICATE_REQUIRED",
        "this method is for enrolled agents: connect with the agent's certificate",
        {}};
  return authority_.verify_agent(certificate_pem);
}

Result<> Enrollment::admit(const AgentCertificate& certificate) {
  auto standing = TRY(pool_.transaction(
      [&](Transaction& tx) { return store::find_credential(tx, certificate.serial); }));
  if (!standing || standing->agent_id != certificate.agent_id)
    return Error{
        Code::kUnauthenticated,
        "AGENT_UNKNOWN",
        "this control plane has no record of the agent's certificate: enroll it again with a new "
        "join token",
        {}};
  TRY(check_standing(standing->agent));
  if (standing->revoked)
    return Error{
        Code::kUnauthenticated,
        "CERTIFICATE_REVOKED",
        "the agent's certificate was revoked: enroll it again with a new join token",
        {}};
  return {};
}

} // namespace controlplane::identity
