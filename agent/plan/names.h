// Names of Go's functions, fields and types that probes are planned from, 1.17 to 1.27.
#pragma once

#include <array>

namespace agent::plan {

inline constexpr const char* kGopanic = "runtime.gopanic";
inline constexpr const char* kRoundTrip = "net/http.(*persistConn).roundTrip";
inline constexpr const char* kMapRoundTripError = "net/http.(*persistConn).mapRoundTripError";

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

// Their values begin with a string, or point to one: the message of a panic can be read.
inline constexpr std::array kMessageTypes = {
    "string", "runtime.errorString", "runtime.plainError", "*errors.errorString", "*fmt.wrapError"};
// Errors of a call that ran out of time; httpError until 1.22, timeoutError after.
inline constexpr std::array kTimeoutTypes = {
    "context.deadlineExceededError", "*net/http.httpError", "*net/http.timeoutError"};

} // namespace agent::plan
