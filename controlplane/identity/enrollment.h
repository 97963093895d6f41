// How hosts get an identity and keep it, and who of them is let in.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "controlplane/identity/authority.h"
#include "controlplane/store/pool.h"
#include "sonde/v1/enrollment_service.pb.h"

#include <string>
#include <string_view>

namespace controlplane::identity {

// Opens the authority of this installation: its certificate (never its key) is also in the store,
// so that a replica without the files, or with others, refuses to start instead of founding a
// second authority.
//   AUTHORITY_MISSING, AUTHORITY_MISMATCH (FAILED_PRECONDITION): copy authority.key and
//   authority.crt.
base::Result<Authority>
open_authority(store::Pool& pool, Authority::Options options, const base::Clock& clock);

// The use cases of EnrollmentService. They block on the store; thread-safe.
class Enrollment {
 public:
  Enrollment(const Authority& authority, store::Pool& pool) : authority_(authority), pool_(pool) {}

  // The same token with the same key gets the same agent again while the token lives.
  //   INVALID_JOIN_TOKEN, INVALID_CERTIFICATE_REQUEST (INVALID_ARGUMENT); JOIN_TOKEN_UNKNOWN
  //   (UNAUTHENTICATED); JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED (FAILED_PRECONDITION); AGENT_BANNED,
  //   AGENT_EVICTED (PERMISSION_DENIED)
  base::Result<sonde::v1::EnrollResponse>
  enroll(const sonde::v1::EnrollRequest& request, std::string_view peer_address);
  // A new certificate for an agent that was let in.
  base::Result<sonde::v1::RenewResponse>
  renew(const std::string& agent_id, const sonde::v1::RenewRequest& request);

  // Whom a client certificate names; does not ask the store. CERTIFICATE_REQUIRED for an empty one,
  // else as Authority::verify_agent (all UNAUTHENTICATED).
  base::Result<AgentCertificate> verify(std::string_view certificate_pem) const;
  // Whether that agent may talk to us: its certificate is tracked and not revoked.
  //   AGENT_UNKNOWN, CERTIFICATE_REVOKED (UNAUTHENTICATED); AGENT_BANNED, AGENT_EVICTED
  //   (PERMISSION_DENIED)
  base::Result<> admit(const AgentCertificate& certificate);

 private:
  base::Result<IssuedCertificate>
  issue_and_track(store::Transaction& tx, std::string_view agent_id, const base::RequestedKey& key);

  const Authority& authority_;
  store::Pool& pool_;
};

} // namespace controlplane::identity
