#include "controlplane/identity/permission.h"

#include <fmt/format.h>

namespace controlplane::identity {
namespace {

using model::Role;
using sonde::v1::Access;

bool has(Role role, Access::Permission permission) {
  switch (permission) {
  case Access::PUBLIC:
    return true;
  case Access::AGENT:
    return role == Role::kAgent;
  case Access::READ:
    return role == Role::kViewer || role == Role::kOperator || role == Role::kAdmin;
  case Access::OPERATE:
    return role == Role::kOperator || role == Role::kAdmin;
  case Access::ADMINISTER:
    return role == Role::kAdmin;
  default:
    return false;
  }
}

std::string_view who_has(Access::Permission permission) {
  switch (permission) {
  case Access::AGENT:
    return "the client certificate of an enrolled agent";
  case Access::READ:
    return "an API token with role viewer, operator or admin";
  case Access::OPERATE:
    return "an API token with role operator or admin";
  case Access::ADMINISTER:
    return "an API token with role admin";
  default:
    return "nobody: the method names no permission";
  }
}

} // namespace

base::Result<>
authorize(const model::Caller& caller, Access::Permission permission, std::string_view method) {
  if (has(caller.role, permission)) return {};
  auto needs = fmt::format(
      "{} needs permission {} ({})", method, Access::Permission_Name(permission),
      who_has(permission));
  if (caller.role == Role::kNone) {
    return base::Error{
        base::Code::kUnauthenticated,
        "AUTHENTICATION_REQUIRED",
        needs + "; send \"Authorization: Bearer <token>\"",
        {}};
  }
  return base::Error{
      base::Code::kPermissionDenied,
      "PERMISSION_MISSING",
      fmt::format("{}; {} has role {}", needs, caller.name, model::name_of(caller.role)),
      {}};
}

} // namespace controlplane::identity
