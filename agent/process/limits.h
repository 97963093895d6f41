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
// The index of relocations that are not in order is the only table whose size the file decides: 32 MB.
inline constexpr uint64_t kUnsortedRelocationsMax = 2'000'000;
inline constexpr uint64_t kBuildInfoBytesMax = 1 << 20;
// Sections of debug information above this are not read: libdw unpacks them into anonymous memory.
inline constexpr uint64_t kDebugInfoBytesMax = 64 << 20;

// --- the worker that reads strangers' files
// Binaries of hundreds of megabytes take half a second; what takes longer is made to.
inline constexpr int kAnalysisTimeoutMs = 10'000;
inline constexpr uint64_t kWorkerCpuSeconds = 10;
// Private memory: a stripped binary needs some 10 MB, unpacked debug information up to kDebugInfoBytesMax.
inline constexpr uint64_t kWorkerDataBytes = uint64_t{192} << 20;
// What one request asks for, with room: 1024 functions with their code, 4096 modules.
inline constexpr uint64_t kWorkerAnswerBytesMax = 4 << 20;
// The worker process ends when nobody asked for so long: an idle agent is one process.
inline constexpr int kWorkerIdleMs = 3'000;

} // namespace agent::process
