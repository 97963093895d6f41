// What went wrong, as a value for three readers: code (retry), reason (programs), message (people).
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace base {

// google.rpc.Code, value for value: one number in gRPC, in REST and in an agent's status.
enum class Code {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

struct Error {
  Code code = Code::kInternal;
  std::string_view reason; // stable UPPER_SNAKE, always a string literal
  std::string message;     // a sentence that says what to do
  std::string field;       // the request field at fault, as a JSON path; empty when there is none

  // Adds what the caller was doing: "attach probe 7: open /proc/12/exe: no such file".
  Error context(std::string_view doing) && {
    message.insert(0, std::string(doing) + ": ");
    return std::move(*this);
  }
  // Names the request field that is at fault.
  Error at(std::string_view path) && {
    field = path;
    return std::move(*this);
  }
};

inline Error invalid_argument(std::string_view reason, std::string message) {
  return {Code::kInvalidArgument, reason, std::move(message), {}};
}
inline Error not_found(std::string_view reason, std::string message) {
  return {Code::kNotFound, reason, std::move(message), {}};
}
inline Error failed_precondition(std::string_view reason, std::string message) {
  return {Code::kFailedPrecondition, reason, std::move(message), {}};
}
inline Error unavailable(std::string_view reason, std::string message) {
  return {Code::kUnavailable, reason, std::move(message), {}};
}
inline Error internal(std::string message) {
  return {Code::kInternal, "INTERNAL", std::move(message), {}};
}
// The operation that failed and the text of errno: errno_error("open /proc/1/exe", errno).
Error errno_error(std::string_view doing, int error_number);

} // namespace base
