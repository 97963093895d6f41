// A process on this host, as /proc shows it. Plain value.
#pragma once

#include "agent/process/binary_info.h"
#include "base/error.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agent::process {

// A file on this host without reading it: changes whenever its content can have changed.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t change_time_ns = 0; // ctime
  auto operator<=>(const FileIdentity&) const = default;
};

// Names one life of a process: a pid is reused, and an exec makes another program of the same pid.
// `executable` tells the programs of one life apart.
struct ProcessKey {
  uint32_t pid = 0;         // thread group, in the agent's pid namespace
  uint64_t start_ticks = 0; // clock ticks after boot, as in /proc/<pid>/stat
  FileIdentity executable;
  uint64_t stack_start = 0; // chosen by the kernel at each exec
  auto operator<=>(const ProcessKey&) const = default;
};

// Where service.name came from.
enum class ServiceSource : uint8_t {
  kServiceNameVariable,       // OTEL_SERVICE_NAME
  kResourceAttributeVariable, // service.name in OTEL_RESOURCE_ATTRIBUTES
  kContainer,
  kUnit,
  kExecutable, // unknown_service:<exe>
};

struct Process {
  ProcessKey key;
  std::string executable;        // as the process sees it: /app/server, also inside a container
  std::vector<std::string> argv; // bounded by limits.h
  std::string service;
  ServiceSource service_source = ServiceSource::kExecutable;
  std::string container_id;  // 64 hexadecimal digits, or empty
  std::string unit;          // "checkout.service", or empty
  int64_t start_wall_ns = 0; // since 1970, from start_ticks
  // Add to an address of BinaryInfo to get the address in this process; 0 unless PIE.
  uint64_t load_bias = 0;
};

// A Go process and what its binary says; `binary` is shared by all processes that run the same
// program.
struct GoProcess {
  Process process;
  std::shared_ptr<const BinaryInfo> binary; // null when analysis refused it
  // Why there is no binary: BINARY_UNSUPPORTED, ANALYSIS_FAILED, ….
  std::optional<base::Error> refusal;
};

} // namespace agent::process
