#include "agent/probe/link.h"

#include "agent/probe/limits.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

namespace agent::probe {
namespace {

// The tail of union bpf_attr for BPF_LINK_CREATE of uprobe_multi; libbpf 1.1 and its header know
// neither.
constexpr uint32_t kTraceUprobeMulti = 48; // BPF_TRACE_UPROBE_MULTI
struct UprobeMultiAttributes {
  uint32_t program_fd = 0;
  uint32_t target_fd = 0;
  uint32_t attach_type = kTraceUprobeMulti;
  uint32_t flags = 0;
  uint64_t path = 0;
  uint64_t offsets = 0;
  uint64_t reference_counter_offsets = 0;
  uint64_t cookies = 0;
  uint32_t count = 0;
  uint32_t multi_flags = 0;
  uint32_t pid = 0;
  uint32_t padding = 0;
};
static_assert(sizeof(UprobeMultiAttributes) == 64);

base::Error refused(std::string_view doing) {
  auto error = base::errno_error(doing, errno);
  error.reason = errno == EPERM || errno == EACCES ? "PERMISSION_DENIED" : "KERNEL_UNSUPPORTED";
  return error;
}

base::Result<uint32_t> uprobe_event_type() {
  std::ifstream file("/sys/bus/event_source/devices/uprobe/type");
  uint32_t type = 0;
  if (!(file >> type))
    return base::Error{
        base::Code::kFailedPrecondition,
        "KERNEL_UNSUPPORTED",
        "the kernel has no uprobe events",
        {}};
  return type;
}

base::Result<base::Fd>
open_uprobe_event(uint32_t type, const std::string& path, uint64_t file_offset, uint32_t pid) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = type;
  attributes.config1 = reinterpret_cast<uint64_t>(path.c_str());
  attributes.config2 = file_offset;
  const int target = pid == 0 ? -1 : static_cast<int>(pid);
  const int cpu = pid == 0 ? 0 : -1;
  const long fd = syscall(SYS_perf_event_open, &attributes, target, cpu, -1, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) return refused("perf_event_open for a uprobe in " + path);
  return base::Fd(static_cast<int>(fd));
}

} // namespace

base::Result<Link> attach_tracing(int program_fd) {
  const int fd = bpf_raw_tracepoint_open(nullptr, program_fd);
  if (fd < 0) return refused("attach to a tracepoint");
  return Link(base::Fd(fd));
}

base::Result<Link> attach_uprobe_multi(
    int program_fd, const std::string& path, std::span<const AttachPoint> points, uint32_t pid) {
  std::vector<uint64_t> offsets;
  std::vector<uint64_t> cookies;
  for (const auto& point : points) {
    offsets.push_back(point.file_offset);
    cookies.push_back(point.cookie);
  }
  UprobeMultiAttributes attributes;
  attributes.program_fd = static_cast<uint32_t>(program_fd);
  attributes.path = reinterpret_cast<uint64_t>(path.c_str());
  attributes.offsets = reinterpret_cast<uint64_t>(offsets.data());
  attributes.cookies = reinterpret_cast<uint64_t>(cookies.data());
  attributes.count = static_cast<uint32_t>(points.size());
  attributes.pid = pid;
  const long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes));
  if (fd < 0) return refused("attach " + std::to_string(points.size()) + " uprobes in " + path);
  return Link(base::Fd(static_cast<int>(fd)));
}

base::Result<Link> attach_uprobe_perf(
    int program_fd, const std::string& path, std::span<const AttachPoint> points, uint32_t pid) {
  const auto type = TRY(uprobe_event_type());
  std::vector<base::Fd> fds;
  for (const auto& point : points) {
    auto event = TRY(open_uprobe_event(type, path, point.file_offset, pid));
    LIBBPF_OPTS(bpf_link_create_opts, options, .perf_event = {.bpf_cookie = point.cookie});
    const int link = bpf_link_create(program_fd, event.get(), BPF_PERF_EVENT, &options);
    if (link < 0) return refused("attach a uprobe in " + path);
    if (ioctl(event.get(), PERF_EVENT_IOC_ENABLE, 0) < 0) return refused("enable a uprobe");
    fds.emplace_back(link);
    fds.push_back(std::move(event));
  }
  return Link(std::move(fds));
}

void close_all(std::vector<Link> links) {
  std::vector<base::Fd> fds;
  for (auto& link : links)
    for (auto& fd : std::move(link).release()) fds.push_back(std::move(fd));
  if (fds.size() <= 1) return;
  std::atomic<size_t> next = 0;
  auto close_some = [&] {
    for (size_t i = next++; i < fds.size(); i = next++) fds[i].reset();
  };
  std::vector<std::jthread> threads;
  for (size_t i = 1; i < std::min(fds.size(), kClosingThreadsMax); ++i)
    threads.emplace_back(close_some);
  close_some();
}

} // namespace agent::probe
