// OpenAPI 3.1 out of the descriptors and their comments. Pure.
#pragma once

#include "base/result.h"
#include "controlplane/edge/method_table.h"

#include <string>

namespace controlplane::edge {

// The document, as JSON: every binding a path, every message a schema, the permission of each
// method in `x-sonde-permission`.
base::Result<std::string> open_api_document(const MethodTable& methods);

} // namespace controlplane::edge
