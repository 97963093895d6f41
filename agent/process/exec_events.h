// The kernel's word that a program was started: the tracepoint sched_process_exec through
// perf_event_open, a ring per CPU. No BPF is loaded for it, and it costs nothing while nothing
// starts.
#pragma once

#include "base/fd.h"
#include "base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace agent::process {

// One owner thread, which need not be the one that opened it.
class ExecEvents {
 public:
  // TRACEPOINT_UNAVAILABLE with what is missing: tracefs (read through a private mount where the
  // host has none), or the right to open perf events (CAP_PERFMON).
  static base::Result<ExecEvents> open();
  ExecEvents(ExecEvents&&) noexcept = default;
  ExecEvents& operator=(ExecEvents&&) = delete;
  ~ExecEvents();

  // Readable when a program was started; one for each CPU.
  std::vector<int> fds() const;

  struct Batch {
    std::vector<uint32_t> pids; // in the order of each CPU; a pid may come twice
    uint64_t lost = 0;          // events that did not fit: look at /proc
  };
  // What has come since the last call. Does not block.
  Batch drain();

 private:
  struct Ring {
    base::Fd fd;
    void* memory = nullptr;
  };
  ExecEvents() = default;
  static base::Result<Ring> open_ring(uint64_t tracepoint, int cpu);

  std::vector<Ring> rings_;
};

} // namespace agent::process
