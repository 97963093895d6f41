#include "controlplane/model/caller.h"

namespace controlplane::model {

std::string_view name_of(Role role) {
  switch (role) {
  case Role::kViewer:
    return "viewer";
  case Role::kOperator:
    return "operator";
  case Role::kAdmin:
    return "admin";
  case Role::kAgent:
    return "agent";
  case Role::kNone:
    break;
  }
  return "none";
}

} // namespace controlplane::model
