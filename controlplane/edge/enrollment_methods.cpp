#include "controlplane/edge/enrollment_methods.h"

namespace controlplane::edge {

using base::Result;

void add_enrollment(identity::Enrollment& enrollment, Dispatch& dispatch) {
  using sonde::v1::EnrollRequest;
  using sonde::v1::EnrollResponse;
  using sonde::v1::RenewRequest;
  using sonde::v1::RenewResponse;
  dispatch.add<EnrollRequest, EnrollResponse>(
      "sonde.v1.EnrollmentService.Enroll",
      [&enrollment](const model::Caller& caller, const EnrollRequest& request) {
        return enrollment.enroll(request, caller.address);
      });
  dispatch.add<RenewRequest, RenewResponse>(
      "sonde.v1.EnrollmentService.Renew",
      [&enrollment](const model::Caller& caller, const RenewRequest& request) {
        return enrollment.renew(caller.agent_id, request);
      });
}

Authenticator::CertificateLookup certificate_lookup(identity::Enrollment& enrollment) {
  return [&enrollment](std::string_view certificate_pem) -> Result<model::Caller> {
    identity::AgentCertificate agent = TRY(enrollment.verify(certificate_pem));
    TRY(enrollment.admit(agent));
    return model::Caller{
        .role = model::Role::kAgent, .name = agent.agent_id, .agent_id = agent.agent_id};
  };
}

} // namespace controlplane::edge
