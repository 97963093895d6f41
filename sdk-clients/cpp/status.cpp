#include "sdk-clients/cpp/status.h"

#include "sdk-clients/cpp/limits.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include <mutex>
#include <set>

namespace sonde {

using base::Code;
using base::Error;

namespace {

// Error::reason lives as long as the program; the server's words get the same life here, within a
// limit.
std::string_view intern(const std::string& reason) {
  static std::mutex mutex;
  static std::set<std::string, std::less<>> reasons;
  std::lock_guard lock(mutex);
  if (auto known = reasons.find(reason); known != reasons.end()) return *known;
  if (reason.size() > limits::kReasonBytesMax || reasons.size() >= limits::kReasonsMax)
    return "UNKNOWN_REASON";
  return *reasons.insert(reason).first;
}

std::string_view name_of(Code code) {
  switch (code) {
  case Code::kOk:
    return "OK";
  case Code::kCancelled:
    return "CANCELLED";
  case Code::kUnknown:
    return "UNKNOWN";
  case Code::kInvalidArgument:
    return "INVALID_ARGUMENT";
  case Code::kDeadlineExceeded:
    return "DEADLINE_EXCEEDED";
  case Code::kNotFound:
    return "NOT_FOUND";
  case Code::kAlreadyExists:
    return "ALREADY_EXISTS";
  case Code::kPermissionDenied:
    return "PERMISSION_DENIED";
  case Code::kResourceExhausted:
    return "RESOURCE_EXHAUSTED";
  case Code::kFailedPrecondition:
    return "FAILED_PRECONDITION";
  case Code::kAborted:
    return "ABORTED";
  case Code::kOutOfRange:
    return "OUT_OF_RANGE";
  case Code::kUnimplemented:
    return "UNIMPLEMENTED";
  case Code::kInternal:
    return "INTERNAL";
  case Code::kUnavailable:
    return "UNAVAILABLE";
  case Code::kDataLoss:
    return "DATA_LOSS";
  case Code::kUnauthenticated:
    return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// gRPC tells what went wrong with a connection in prose only.
Error explain_connection(
    const std::string& message, const std::string& server, const std::string& ca_file) {
  if (contains(message, "certificate verify failed") ||
      contains(message, "CERTIFICATE_VERIFY_FAILED"))
    return base::unavailable(
        "SERVER_NOT_TRUSTED",
        server + " shows a certificate that " +
            (ca_file.empty() ? "no authority of this system signed; give the one of sonded with "
                               "--ca FILE or SONDE_CA"
                             : ca_file + " did not sign; is it the authority of this sonded "
                                         "(ca.pem in its state directory)?"));
  if (contains(message, "WRONG_VERSION_NUMBER") || contains(message, "wrong version number"))
    return base::unavailable(
        "SERVER_SPEAKS_NO_TLS",
        server + " speaks no TLS: --server wants the gRPC port of sonded, not the one for REST");
  if (contains(message, "Hostname Verification Check failed") || contains(message, "Peer name"))
    return base::unavailable(
        "SERVER_NOT_TRUSTED",
        server + ": the server's certificate is for another name: " + message);
  return base::unavailable(
      "SERVER_UNREACHABLE",
      "no answer from " + server +
          ": is sonded running, and is the address right (--server, SONDE_SERVER)? " + message);
}

void add_details(const google::rpc::Status& details, Error& error) {
  for (const auto& any : details.details()) {
    if (google::rpc::ErrorInfo info; any.UnpackTo(&info) && !info.reason().empty())
      error.reason = intern(info.reason());
    google::rpc::BadRequest bad;
    if (!any.UnpackTo(&bad)) continue;
    for (const auto& violation : bad.field_violations()) {
      if (error.field.empty()) error.field = violation.field();
      if (!contains(error.message, violation.description()))
        error.message += "\n  " + violation.field() + ": " + violation.description();
    }
  }
}

} // namespace

Error error_from_status(
    const grpc::Status& status, const std::string& server, const std::string& ca_file) {
  const auto code = static_cast<Code>(status.error_code());
  Error error{code, name_of(code), status.error_message(), {}};
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details()) && details.details_size() > 0) {
    add_details(details, error);
    return error;
  }
  if (code == Code::kUnavailable)
    return explain_connection(status.error_message(), server, ca_file);
  if (code == Code::kDeadlineExceeded)
    error.message = server + " did not answer in time; --timeout gives it longer";
  return error;
}

bool is_transient(const Error& error) {
  return error.code == Code::kUnavailable && error.reason != "SERVER_NOT_TRUSTED" &&
         error.reason != "SERVER_SPEAKS_NO_TLS";
}

} // namespace sonde
