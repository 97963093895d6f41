// The thread that owns every BPF object: commands in, statuses out.
#pragma once

#include "agent/probe/bpf_kernel.h"
#include "agent/probe/reconciler.h"
#include "base/queue.h"
#include "sonde/v1/agent_control_service.pb.h"

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

namespace agent::app {

// Replaces what is wanted. `then` is acknowledged when the kernel matches it.
struct Apply {
  plan::DesiredState desired;
  sonde::v1::Ack then;
};
struct RefreshLeases {
  std::map<std::string, base::Nanoseconds> deadlines;
};
struct ProcessStarted {
  process::GoProcess process;
};
struct ProcessEnded {
  uint32_t pid = 0;
};
using ProbeCommand = std::variant<Apply, RefreshLeases, ProcessStarted, ProcessEnded>;

// What the thread is told to do with what it finds out; called on it.
struct ProbeOutputs {
  std::function<void(sonde::v1::Ack)> acknowledge;
  std::function<void(const probe::Traced&)> traced;
};

// Thread-safe: commands come from any thread and are dealt with in their order.
class ProbeThread {
 public:
  ProbeThread(
      probe::KernelFeatures features, probe::RingReader ring, probe::LiveCheck live_check,
      plan::LocalPolicy policy, const base::Clock& clock, ProbeOutputs outputs);
  // Detaches everything; what the ring still holds is read.
  ~ProbeThread();

  // False, with a line in the log, when too many commands wait.
  bool post(ProbeCommand command);
  // Of the loaded programs, as of the last tick.
  probe::KernelUse use() const;

 private:
  void run();
  void execute(Apply& command);
  void execute(RefreshLeases& command);
  void execute(ProcessStarted& command);
  void execute(ProcessEnded& command);

  probe::BpfKernel kernel_;
  const base::Clock& clock_;
  const ProbeOutputs outputs_;
  probe::Reconciler reconciler_;
  base::Queue<ProbeCommand> commands_;
  base::Nanoseconds next_tick_{0};
  mutable std::mutex mutex_; // of use_
  probe::KernelUse use_;
  std::jthread thread_; // last: it uses the rest
};

} // namespace agent::app
