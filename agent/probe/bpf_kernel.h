// The kernel through libbpf: owns every BPF object of the agent.
#pragma once

#include "agent/probe/kernel.h"
#include "agent/probe/kernel_features.h"

#include <functional>
#include <memory>

namespace agent::probe {

// Who reads the ring of records. Called on the probe thread.
struct RingReader {
  // The ring exists; `fd` is the reader's own and may be mapped.
  std::function<void(base::Fd fd)> opened;
  // Nothing writes any more: read what is left and let go of it before returning.
  std::function<void()> closing;
  // Records read since the agent started.
  std::function<uint64_t()> records;
};

// Asks the memory of a running process whether it agrees with its binary; empty asks nothing.
using LiveCheck = std::function<base::Result<>(const process::GoProcess&)>;

// Owned by the probe thread.
class BpfKernel final : public Kernel {
 public:
  BpfKernel(KernelFeatures features, RingReader reader, LiveCheck live_check);
  ~BpfKernel() override;

  base::Result<> load() override;
  void unload(std::vector<Link> links) override;
  bool loaded() const override { return programs_ != nullptr; }
  base::Result<> verify(const process::GoProcess& process, const plan::ProbePlan& plan) override;
  base::Result<> set_process(uint32_t pid, const process_config& config) override;
  void forget_process(uint32_t pid) override;
  base::Result<Link> attach(uint32_t pid, std::span<const plan::FunctionSite> sites) override;
  KernelUse use() const override;

 private:
  struct Programs;

  base::Result<std::unique_ptr<Programs>> load_programs() const;

  const KernelFeatures features_;
  const RingReader reader_;
  const LiveCheck live_check_;
  std::unique_ptr<Programs> programs_;
  std::vector<Link> socket_links_;
  size_t rows_ = 0;
};

} // namespace agent::probe
