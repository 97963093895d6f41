// Who produced a span, as OpenTelemetry resource attributes.
#pragma once

#include <cstdint>
#include <string>

namespace agent::telemetry {

// The host, read once.
struct HostResource {
  std::string name; // host.name
  std::string id;   // host.id: /etc/machine-id
  std::string arch; // host.arch: amd64, arm64
};
// Reads uname and /etc/machine-id; what cannot be read stays empty and is left out.
HostResource read_host_resource();

// One process. Empty strings are left out.
struct ProcessResource {
  uint32_t pid = 0; // in the host's pid namespace
  std::string
      service_name; // as agent/process resolved it; empty: unknown_service:<executable_name>
  std::string service_version; // of the main module
  std::string executable_name;
  std::string executable_path;
  std::string command; // argv[0]
  std::string container_id;
  std::string go_version;     // process.runtime.version, e.g. go1.22.12
  uint64_t start_boot_ns = 0; // when it was started, CLOCK_BOOTTIME; 0: unknown
};

// The OTLP `Resource` message of the process, serialized. `wall_minus_boot_ns` turns boot time into
// unix time.
std::string encode_resource(
    const HostResource& host, const ProcessResource& process, int64_t wall_minus_boot_ns);

} // namespace agent::telemetry
