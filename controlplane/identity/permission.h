// Which role may call which method: the method names a permission, the role has it or not.
#pragma once

#include "base/result.h"
#include "controlplane/model/caller.h"
#include "sonde/v1/access.pb.h"

#include <string_view>

namespace controlplane::identity {

// Ok, or UNAUTHENTICATED (AUTHENTICATION_REQUIRED) for a caller without identity, or
// PERMISSION_DENIED (PERMISSION_MISSING) with a sentence that names the permission and the roles
// that have it. A method without a permission is denied to everybody.
base::Result<> authorize(
    const model::Caller& caller, sonde::v1::Access::Permission permission, std::string_view method);

} // namespace controlplane::identity
