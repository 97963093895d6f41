// Every bound of agent/process, with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

namespace agent::process {

// --- what is kept of a binary
// Enough for any prologue with its stack check; planners decode from here.
inline constexpr size_t kFunctionCodeBytesMax = 160;
// The largest programs seen depend on some two thousand modules.
inline constexpr size_t kModulesMax = 4096;
// Names of packages, functions, types, fields: the longest seen are generic instances of some 2 KB.
inline constexpr size_t kNameBytesMax = 4096;
// One request asks for what a few probe kinds need.
inline constexpr size_t kRequestedFactsMax = 1024;

// --- what a file may claim
inline constexpr uint64_t kFileBytesMax = uint64_t{4} << 30;
inline constexpr size_t kSegmentsMax = 64;
inline constexpr size_t kSectionsMax = 4096;
inline constexpr uint64_t kFunctionsMax = 4'000'000;
inline constexpr uint64_t kTypeDataBytesMax = uint64_t{512} << 20;
inline constexpr uint64_t kStructFieldsMax = 4096;
inline constexpr uint64_t kFunctionParametersMax = 1024;
// Fields through structs held by value: "runtime.g.sched.sp" is two deep.
inline constexpr size_t kFieldPathDepthMax = 8;
// The index of relocations that are not in order is the only table whose size the file decides: 32
// MB.
inline constexpr uint64_t kUnsortedRelocationsMax = 2'000'000;
inline constexpr uint64_t kBuildInfoBytesMax = 1 << 20;
// Sections of debug information above this are not read: libdw unpacks them into anonymous memory.
inline constexpr uint64_t kDebugInfoBytesMax = 64 << 20;

// --- the worker that reads strangers' files
// Binaries of hundreds of megabytes take half a second; what takes longer is made to.
inline constexpr int kAnalysisTimeoutMs = 10'000;
inline constexpr uint64_t kWorkerCpuSeconds = 10;
// Private memory: a stripped binary needs some 10 MB, unpacked debug information up to
// kDebugInfoBytesMax.
inline constexpr uint64_t kWorkerDataBytes = uint64_t{192} << 20;
// What one request asks for, with room: 1024 functions with their code, 4096 modules.
inline constexpr uint64_t kWorkerAnswerBytesMax = 4 << 20;
// The worker process ends when nobody asked for so long: an idle agent is one process.
inline constexpr int kWorkerIdleMs = 3'000;

// --- what is kept of a process
inline constexpr size_t kArgumentsMax = 64;
inline constexpr size_t kArgumentBytesMax = 8192;
inline constexpr size_t kServiceNameBytesMax = 255;
inline constexpr size_t kEnvironmentBytesMax = 1 << 20;
inline constexpr size_t kControlGroupBytesMax = 1 << 16;
// The executable is mapped first; a program with a million other mappings is not read to the end.
inline constexpr size_t kMapsBytesMax = 4 << 20;

// --- discovery
// Per CPU: 32 KB hold some 800 starts. What does not fit is counted by the kernel and found by a
// scan.
inline constexpr size_t kExecRingPages = 8;
inline constexpr int kScanWithTracepointsMs = 30'000;
inline constexpr int kScanWithoutTracepointsMs = 1'000;
// Binaries waiting for analysis; each holds an open file. What does not fit is found again by the
// next scan.
inline constexpr size_t kPendingBinariesMax = 256;
// Processes remembered as seen, Go or not: pid_max is 4 million, a host has some thousands.
inline constexpr size_t kSeenProcessesMax = 65'536;
inline constexpr size_t kKnownBinariesMax = 4'096;
// A binary whose analysis failed is tried again after this, when it is started again.
inline constexpr int kFailedAnalysisSeconds = 60;

// --- the live check
// The runtime sets itself up in its first millisecond or two, on a host that is overloaded in a
// second.
inline constexpr int kLiveCheckPatienceMs = 100;
inline constexpr int kLiveCheckPatienceAtStartMs = 1'000;
inline constexpr int kStartSeconds = 10;
inline constexpr int kLiveCheckPauseMs = 2;
// Variables with pointers that are searched for runtime.m0 and runtime.allgs: 0.2 MB in small
// programs.
inline constexpr uint64_t kVariableBytesMax = 16 << 20;
// Goroutines of runtime.allgs that are looked at.
inline constexpr uint64_t kSampledGoroutines = 16;
// What may be a slice of goroutines, of which each costs a read of the process's memory.
inline constexpr size_t kSliceCandidatesMax = 20'000;

// --- facts on disk
inline constexpr size_t kCachedFilesMax = 1'024;
inline constexpr size_t kCachedFileBytesMax = kWorkerAnswerBytesMax + 4096;

} // namespace agent::process
