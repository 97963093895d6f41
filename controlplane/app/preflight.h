// What can be known to fail is found before anything is made: no database, no authority, no token
// of a sonded that cannot serve.
#pragma once

#include "base/result.h"
#include "controlplane/app/control_plane.h"
#include "controlplane/app/settings.h"

namespace controlplane::app {

// ADDRESS_NOT_AVAILABLE when one of the addresses cannot be listened on now, INVALID_SETTING for a
// certificate and key that do not belong together or a CA file that cannot be read. Changes
// nothing.
base::Result<> check_before_start(const Settings& settings, const Secrets& secrets);

} // namespace controlplane::app
