// One process as /proc shows it in this moment. Everything here may vanish between two reads: that
// is NOT_FOUND.
#pragma once

#include "agent/process/process.h"
#include "base/result.h"

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agent::process {

// For tests, another directory can stand in for /proc.
class ProcFiles {
 public:
  explicit ProcFiles(std::string directory = "/proc") : directory_(std::move(directory)) {}

  std::vector<uint32_t> pids() const;
  // PROCESS_GONE for what has ended, is a zombie, or is a thread of the kernel. load_bias is left
  // 0.
  base::Result<Process> read(uint32_t pid) const;
  // Opens the executable itself, whatever mount namespace it is in. PROCESS_GONE when it is another
  // file by now.
  base::Result<int> open_executable(const ProcessKey& key) const;
  // Where the program was loaded, less where its file says. LAYOUT_CONFLICT when the executable is
  // not mapped as its segments say.
  base::Result<uint64_t> load_bias(const ProcessKey& key, const BinaryInfo& binary) const;
  // Whether that program still runs.
  bool lives(const ProcessKey& key) const;

 private:
  std::string path(uint32_t pid, std::string_view file) const;
  std::string directory_;
};

struct ControlGroup {
  std::string container_id; // 64 hexadecimal digits
  std::string unit;         // "checkout.service"
};
// From the text of /proc/<pid>/cgroup: Docker, containerd, CRI-O, Podman, systemd.
ControlGroup parse_cgroup(std::string_view text);

struct StatLine {
  char state = '?';
  uint64_t flags = 0;
  uint64_t start_ticks = 0;
  uint64_t stack_start = 0;
};
// From the text of /proc/<pid>/stat; the name in it may hold spaces and parentheses.
std::optional<StatLine> parse_stat(std::string_view text);

// The value of service.name in OTEL_RESOURCE_ATTRIBUTES ("a=b,service.name=cart", percent-encoded);
// or empty.
std::string service_name_of(std::string_view resource_attributes);

FileIdentity identity_of(const struct ::stat& status);

} // namespace agent::process
