#include "sdk-clients/cli/exit_code.h"

namespace cli {

ExitCode exit_code_of(const base::Error& error) {
  using base::Code;
  if (error.reason == "USAGE" || error.reason == "SERVER_MISSING" ||
      error.reason == "SERVER_ADDRESS_INVALID" || error.reason == "FILE_UNREADABLE" ||
      error.reason == "FILE_INVALID" || error.reason == "FILE_TOO_LARGE" ||
      error.reason == "CONFIG_FILE_INVALID")
    return kUsage;
  switch (error.code) {
  case Code::kOk:
    return kSuccess;
  case Code::kUnauthenticated:
  case Code::kPermissionDenied:
    return kNotAllowed;
  case Code::kNotFound:
    return kNotFound;
  case Code::kInvalidArgument:
  case Code::kFailedPrecondition:
  case Code::kAlreadyExists:
  case Code::kAborted:
  case Code::kOutOfRange:
  case Code::kResourceExhausted:
  case Code::kUnimplemented:
    return kRefused;
  case Code::kUnavailable:
  case Code::kDeadlineExceeded:
    return kUnreachable;
  default:
    return kFailure;
  }
}

} // namespace cli
