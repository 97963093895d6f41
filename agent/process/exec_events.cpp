#include "agent/process/exec_events.h"

#include "agent/process/limits.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>

namespace agent::process {
namespace {

constexpr const char* kIdFile = "events/sched/sched_process_exec/id";

base::Error tracepoint_unavailable(std::string message) {
  return base::unavailable("TRACEPOINT_UNAVAILABLE", std::move(message));
}

std::optional<uint64_t> read_id(int directory) {
  base::Fd fd(openat(directory, kIdFile, O_RDONLY | O_CLOEXEC));
  char text[32];
  ssize_t n = fd ? read(fd.get(), text, sizeof(text)) : -1;
  uint64_t id = 0;
  if (n <= 0 || std::from_chars(text, text + n, id).ec != std::errc()) return std::nullopt;
  return id;
}

base::Result<uint64_t> tracepoint_id() {
  for (const char* path : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    base::Fd directory(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (directory)
      if (auto id = read_id(directory.get())) return *id;
  }
  // Where tracefs is not mounted, a mount that only this descriptor knows leaves the host as it
  // was.
  base::Fd context(fsopen("tracefs", FSOPEN_CLOEXEC));
  if (!context) return tracepoint_unavailable("tracefs is not mounted and may not be");
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return tracepoint_unavailable("tracefs is not mounted and cannot be");
  base::Fd mounted(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mounted) return tracepoint_unavailable("tracefs is not mounted and cannot be");
  if (auto id = read_id(mounted.get())) return *id;
  return tracepoint_unavailable("the kernel has no tracepoint sched_process_exec");
}

// "0-3,6" → 0 1 2 3 6
std::vector<int> online_cpus() {
  std::ifstream file("/sys/devices/system/cpu/online");
  std::vector<int> cpus;
  int first = 0;
  while (file >> first) {
    int last = first;
    if (file.peek() == '-') {
      file.get();
      file >> last;
    }
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (file.peek() != ',') break;
    file.get();
  }
  return cpus;
}

size_t page_bytes() {
  static const auto kBytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return kBytes;
}

size_t ring_bytes() { return (1 + kExecRingPages) * page_bytes(); }

// The layout of a sample that was asked for PERF_SAMPLE_TID, and of a loss.
struct Sample {
  perf_event_header header;
  uint32_t pid, tid;
};
struct Lost {
  perf_event_header header;
  uint64_t id, lost;
};

} // namespace

ExecEvents::~ExecEvents() {
  for (Ring& ring : rings_)
    if (ring.memory != nullptr) munmap(ring.memory, ring_bytes());
}

base::Result<ExecEvents> ExecEvents::open() {
  uint64_t id = TRY(tracepoint_id());
  ExecEvents events;
  for (int cpu : online_cpus()) events.rings_.push_back(TRY(open_ring(id, cpu)));
  if (events.rings_.empty()) return tracepoint_unavailable("no CPU is online");
  return events;
}

base::Result<ExecEvents::Ring> ExecEvents::open_ring(uint64_t tracepoint, int cpu) {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.config = tracepoint;
  attributes.sample_period = 1;
  attributes.sample_type = PERF_SAMPLE_TID;
  attributes.wakeup_events = 1;
  Ring ring;
  ring.fd.reset(static_cast<int>(
      syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!ring.fd)
    return tracepoint_unavailable(
        std::string("perf_event_open: ") + std::strerror(errno) + " (CAP_PERFMON is needed)");
  ring.memory = mmap(nullptr, ring_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd.get(), 0);
  if (ring.memory == MAP_FAILED) {
    ring.memory = nullptr;
    return tracepoint_unavailable(std::string("mmap of a perf ring: ") + std::strerror(errno));
  }
  return ring;
}

std::vector<int> ExecEvents::fds() const {
  std::vector<int> fds;
  fds.reserve(rings_.size());
  for (const Ring& ring : rings_) fds.push_back(ring.fd.get());
  return fds;
}

ExecEvents::Batch ExecEvents::drain() {
  Batch batch;
  const size_t data_bytes = kExecRingPages * page_bytes();
  for (Ring& ring : rings_) {
    auto* page = static_cast<perf_event_mmap_page*>(ring.memory);
    const auto* data = static_cast<const char*>(ring.memory) + page_bytes();
    uint64_t head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = page->data_tail;
    // Records may wrap around the end of the ring: copied bytewise, they are small.
    auto copy = [&](void* to, size_t size) {
      for (size_t i = 0; i < size; ++i) static_cast<char*>(to)[i] = data[(tail + i) % data_bytes];
    };
    while (tail < head) {
      perf_event_header header;
      copy(&header, sizeof(header));
      if (header.size < sizeof(header)) break;
      if (header.type == PERF_RECORD_SAMPLE && header.size >= sizeof(Sample)) {
        Sample sample;
        copy(&sample, sizeof(sample));
        batch.pids.push_back(sample.pid);
      } else if (header.type == PERF_RECORD_LOST && header.size >= sizeof(Lost)) {
        Lost lost;
        copy(&lost, sizeof(lost));
        batch.lost += lost.lost;
      }
      tail += header.size;
    }
    __atomic_store_n(&page->data_tail, head, __ATOMIC_RELEASE);
  }
  return batch;
}

} // namespace agent::process
