// What the running kernel can do for us, asked once by trying it.
#pragma once

#include <string>
#include <vector>

namespace agent::probe {

struct KernelFeatures {
  bool bpf = false; // programs can be loaded at all; false without CAP_BPF or under lockdown
  bool btf = false; // /sys/kernel/btf/vmlinux
  bool ring_buffer = false;      // 5.8
  bool uprobe_multi = false;     // 6.6
  bool uprobe_multi_pid = false; // 6.10: a restriction to a pid holds for all its threads
  std::string release;           // uname -r
  // Sentences for people: what is missing, and what it takes away.
  std::vector<std::string> limitations;
};

// Loads a tiny program or two and frees them again. Any thread.
KernelFeatures detect_kernel_features();

} // namespace agent::probe
