#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace base {
namespace {

Code code_of(int error_number) {
  switch (error_number) {
  case ENOENT:
  case ESRCH:
    return Code::kNotFound;
  case EACCES:
  case EPERM:
    return Code::kPermissionDenied;
  case EINVAL:
    return Code::kInvalidArgument;
  case EEXIST:
    return Code::kAlreadyExists;
  case ENOMEM:
  case ENOSPC:
  case EMFILE:
  case ENFILE:
    return Code::kResourceExhausted;
  case EAGAIN:
  case EINTR:
  case ECONNREFUSED:
  case ECONNRESET:
    return Code::kUnavailable;
  default:
    return Code::kInternal;
  }
}

} // namespace

Error errno_error(std::string_view doing, int error_number) {
  return {
      code_of(error_number),
      "SYSTEM_ERROR",
      std::string(doing) + ": " + std::generic_category().message(error_number),
      {}};
}

} // namespace base
