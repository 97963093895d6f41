// The kernel, as the reconciler needs it: real in the agent, a fake in its tests.
#pragma once

#include "agent/plan/plan.h"
#include "agent/probe/budget.h"
#include "agent/probe/link.h"
#include "agent/process/process.h"
#include "bpf/include/config.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace agent::probe {

// What the loaded programs hold and have counted.
struct KernelUse {
  uint64_t map_bytes = 0;
  uint32_t programs = 0;
  double map_usage_ratio = 0; // of the fullest map
  Cost cost;                  // CPU since the programs were loaded, events since the agent started
  std::map<std::string, uint64_t> losses; // by reason, since the programs were loaded
};

// Owned by the probe thread.
class Kernel {
 public:
  virtual ~Kernel() = default;

  // Loads all programs and attaches those that watch sockets. KERNEL_UNSUPPORTED, BTF_MISSING or
  // VERIFIER_REJECTED. Nothing is left loaded after an error.
  virtual base::Result<> load() = 0;
  // Closes these links and everything that load() made. What was recorded is read first.
  virtual void unload(std::vector<Link> links) = 0;
  virtual bool loaded() const = 0;

  // Holds the facts of a plan against the running process: the bytes of each site in the file it
  // has mapped, and what its memory says. LAYOUT_CONFLICT.
  virtual base::Result<> verify(const process::GoProcess& process, const plan::ProbePlan& plan) = 0;
  // Writes the row of a process. PROBE_LIMIT when the table is full.
  virtual base::Result<> set_process(uint32_t pid, const process_config& config) = 0;
  virtual void forget_process(uint32_t pid) = 0;
  virtual base::Result<Link> attach(uint32_t pid, std::span<const plan::FunctionSite> sites) = 0;

  // Zeros while nothing is loaded.
  virtual KernelUse use() const = 0;
};

} // namespace agent::probe
