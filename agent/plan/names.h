// Names of Go's functions, fields and types that probes are planned from, 1.17 to 1.27.
#pragma once

#include <array>

namespace agent::plan {

inline constexpr const char* kGopanic = "runtime.gopanic";
inline constexpr const char* kRoundTrip = "net/http.(*persistConn).roundTrip";
inline constexpr const char* kMapRoundTripError = "net/http.(*persistConn).mapRoundTripError";
// Of calls that get no connection: where one begins to wait for a dial, where it gives up, and the
// function in whose frame the request is found.
inline constexpr const char* kQueueForDial = "net/http.(*Transport).queueForDial";
inline constexpr const char* kWantConnCancel = "net/http.(*wantConn).cancel";
inline constexpr const char* kTransportRoundTrip = "net/http.(*Transport).roundTrip";

inline constexpr const char* kGStackLo = "runtime.g.stack.lo";
inline constexpr const char* kGStackHi = "runtime.g.stack.hi";
inline constexpr const char* kGM = "runtime.g.m";
inline constexpr const char* kGGoid = "runtime.g.goid";
inline constexpr const char* kGParentGoid = "runtime.g.parentGoid"; // from 1.21 on
inline constexpr const char* kMCurg = "runtime.m.curg";
inline constexpr const char* kPersistConnConn = "net/http.persistConn.conn";
inline constexpr const char* kPersistConnCanceledErr = "net/http.persistConn.canceledErr";
inline constexpr const char* kTcpConnFd = "net.TCPConn.conn.fd";
inline constexpr const char* kNetFdSysfd = "net.netFD.pfd.Sysfd";
inline constexpr const char* kTcpConnType = "*net.TCPConn";
inline constexpr const char* kRequestMethod = "net/http.Request.Method";
inline constexpr const char* kRequestUrl = "net/http.Request.URL";
inline constexpr const char* kUrlScheme = "net/url.URL.Scheme";
inline constexpr const char* kUrlOpaque = "net/url.URL.Opaque";
inline constexpr const char* kUrlHost = "net/url.URL.Host";
inline constexpr const char* kUrlPath = "net/url.URL.Path";
inline constexpr const char* kUrlRawPath = "net/url.URL.RawPath";
inline constexpr const char* kUrlRawQuery = "net/url.URL.RawQuery";
inline constexpr const char* kOpErrorErr = "net.OpError.Err";
inline constexpr const char* kSyscallErrorErr = "os.SyscallError.Err";
inline constexpr const char* kDnsErrorErr = "net.DNSError.Err";
inline constexpr const char* kDnsErrorIsTimeout = "net.DNSError.IsTimeout";
inline constexpr const char* kOpErrorType = "*net.OpError";
inline constexpr const char* kSyscallErrorType = "*os.SyscallError";
inline constexpr const char* kErrnoType = "syscall.Errno";
inline constexpr const char* kDnsErrorType = "*net.DNSError";

// Their values begin with a string, or point to one: the message of a panic can be read.
inline constexpr std::array kMessageTypes = {
    "string", "runtime.errorString", "runtime.plainError", "*errors.errorString", "*fmt.wrapError"};
// Errors of a call that ran out of time; httpError until 1.22, timeoutError after.
inline constexpr std::array kTimeoutTypes = {
    "context.deadlineExceededError", "*net/http.httpError", "*net/http.timeoutError",
    "*net.timeoutError", "*internal/poll.DeadlineExceededError"};

} // namespace agent::plan
