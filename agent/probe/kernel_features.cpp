#include "agent/probe/kernel_features.h"

#include "base/fd.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace agent::probe {
namespace {

constexpr auto kTraceUprobeMulti = static_cast<bpf_attach_type>(48);

// return 0;
constexpr std::array<bpf_insn, 2> kReturnZero = {
    bpf_insn{
        .code = BPF_ALU64 | BPF_MOV | BPF_K,
        .dst_reg = BPF_REG_0,
        .src_reg = 0,
        .off = 0,
        .imm = 0},
    bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};

base::Fd load_uprobe(bpf_attach_type expected) {
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = expected);
  return base::Fd(bpf_prog_load(
      BPF_PROG_TYPE_KPROBE, "feature", "GPL", kReturnZero.data(), kReturnZero.size(), &options));
}

// A directory is no place for a probe: a kernel that knows multi links says EBADF, others EINVAL.
bool knows_uprobe_multi() {
  auto program = load_uprobe(kTraceUprobeMulti);
  if (!program) return false;
  const uint64_t offset = 1;
  struct {
    uint32_t program_fd, target_fd, attach_type, flags;
    uint64_t path, offsets, reference_counters, cookies;
    uint32_t count, multi_flags, pid, padding;
  } attributes{};
  attributes.program_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = kTraceUprobeMulti;
  attributes.path = reinterpret_cast<uint64_t>("/");
  attributes.offsets = reinterpret_cast<uint64_t>(&offset);
  attributes.count = 1;
  base::Fd link(
      static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof(attributes))));
  return !link && errno == EBADF;
}

bool knows_ring_buffer() {
  const auto page = static_cast<uint32_t>(sysconf(_SC_PAGESIZE));
  return static_cast<bool>(
      base::Fd(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "feature", 0, 0, page, nullptr)));
}

std::pair<int, int> version_of(const std::string& release) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

} // namespace

KernelFeatures detect_kernel_features() {
  KernelFeatures features;
  utsname name{};
  if (uname(&name) == 0) features.release = name.release;
  features.bpf = static_cast<bool>(load_uprobe(static_cast<bpf_attach_type>(0)));
  if (!features.bpf)
    features.limitations.push_back(
        std::string("BPF programs cannot be loaded (") + std::strerror(errno) +
        "): run with CAP_BPF and CAP_PERFMON");
  features.btf = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  if (!features.btf)
    features.limitations.emplace_back("/sys/kernel/btf/vmlinux is missing: no HTTP capture");
  features.ring_buffer = features.bpf && knows_ring_buffer();
  if (features.bpf && !features.ring_buffer)
    features.limitations.emplace_back(
        "no BPF ring buffer (Linux 5.8; 5.15 is the oldest that can work): no capture at all");
  features.uprobe_multi = features.bpf && knows_uprobe_multi();
  features.uprobe_multi_pid =
      features.uprobe_multi && version_of(features.release) >= std::pair(6, 10);
  if (features.bpf && !features.uprobe_multi)
    features.limitations.emplace_back(
        "no uprobe_multi links (Linux 6.6): function probes are attached one by one");
  return features;
}

} // namespace agent::probe
