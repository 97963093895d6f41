// EnrollmentService through the common door, and what a client certificate means to it.
#pragma once

#include "controlplane/edge/authenticator.h"
#include "controlplane/edge/dispatch.h"
#include "controlplane/identity/enrollment.h"

namespace controlplane::edge {

// Both keep a reference to `enrollment`.
void add_enrollment(identity::Enrollment& enrollment, Dispatch& dispatch);
// A client certificate to the agent that it names, if that one is let in: role kAgent.
Authenticator::CertificateLookup certificate_lookup(identity::Enrollment& enrollment);

} // namespace controlplane::edge
