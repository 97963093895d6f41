// BPF links: what ties a loaded program to the kernel. A link is a file descriptor and nothing
// else, so that nothing stays behind however the agent ends.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace agent::probe {

// One uprobe: where in the file, and what bpf_get_attach_cookie() returns there.
struct AttachPoint {
  uint64_t file_offset = 0;
  uint64_t cookie = 0;
};

// What is attached at once and detached at the end of its scope, or earlier by close_all. Any
// thread.
class Link {
 public:
  Link() = default;
  explicit Link(base::Fd fd) { fds_.push_back(std::move(fd)); }
  explicit Link(std::vector<base::Fd> fds) : fds_(std::move(fds)) {}
  std::vector<base::Fd> release() && { return std::move(fds_); }
  size_t size() const { return fds_.size(); }

 private:
  std::vector<base::Fd> fds_;
};

// Attaches a tp_btf program. KERNEL_UNSUPPORTED when the kernel refuses.
base::Result<Link> attach_tracing(int program_fd);

// Attaches an uprobe program of expected type BPF_TRACE_UPROBE_MULTI at all points of one file in
// one link. `pid` restricts it to one process, 0 is every process that maps the file; only kernels
// from 6.10 on restrict it to all threads of the process. `path` is opened by the kernel:
// /proc/<pid>/exe reaches into containers.
base::Result<Link> attach_uprobe_multi(
    int program_fd, const std::string& path, std::span<const AttachPoint> points, uint32_t pid);

// The same for kernels without multi links, through one perf event per point; the program has no
// expected attach type then.
base::Result<Link> attach_uprobe_perf(
    int program_fd, const std::string& path, std::span<const AttachPoint> points, uint32_t pid);

// Closes links in parallel and returns when all are closed.
void close_all(std::vector<Link> links);

} // namespace agent::probe
