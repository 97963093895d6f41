// A Go program that is traced by the real programs, without an agent around them. For tests only;
// one thread.
#pragma once

#include "agent/event/record_reader.h"
#include "agent/plan/plan.h"
#include "agent/probe/bpf_kernel.h"
#include "base/clock.h"
#include "base/result.h"
#include "tests/programs/running_program.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace kernel_test {

struct CaptureOptions {
  double ratio = 1;
  uint32_t spans_per_second = 0;
  bool server = true;
  bool client = false;
  bool hop_key = false;
  std::chrono::milliseconds lease = std::chrono::minutes(5);
  std::vector<std::string> arguments{"-quiet"};
  // Instead of keeping the exchanges: they are too many.
  std::function<void(const agent::event::HttpExchange&)> sink;
};

class CapturedProcess {
 public:
  static base::Result<std::unique_ptr<CapturedProcess>>
  start(const std::string& path, const CaptureOptions& options = {});
  ~CapturedProcess();

  // All exchanges so far, read until there are `count` of them or 20 s are over; and a little
  // longer, to see any that should not be there.
  const std::vector<agent::event::HttpExchange>& wait_for(size_t count);
  const std::vector<agent::event::HttpExchange>& exchanges() const { return exchanges_; }
  void clear() { exchanges_.clear(); }
  // Takes what the ring holds.
  void poll(std::chrono::milliseconds timeout = {}) { reader_->poll(timeout); }

  agent::probe::KernelUse use() const { return kernel_->use(); }
  agent::event::StitcherCounts counts() const { return reader_->counts(); }
  uint32_t pid() const { return static_cast<uint32_t>(program_.pid()); }
  uint16_t port() const { return program_.port(); }
  programs::RunningProgram& program() { return program_; }
  const agent::plan::ProbePlan& plan() const { return plan_; }
  // Writes the row anew, changed.
  base::Result<> configure(const std::function<void(process_config&)>& change);

 private:
  explicit CapturedProcess(programs::RunningProgram program) : program_(std::move(program)) {}
  base::Result<> attach(const std::string& path, const CaptureOptions& options);

  base::SystemClock clock_;
  programs::RunningProgram program_;
  agent::plan::ProbePlan plan_;
  std::vector<agent::event::HttpExchange> exchanges_;
  std::unique_ptr<agent::event::RecordReader> reader_;
  std::unique_ptr<agent::probe::BpfKernel> kernel_;
  std::vector<agent::probe::Link> links_;
};

// Whether BPF can be used at all; else why not, for the one skip that is allowed.
std::optional<std::string> why_no_bpf();

} // namespace kernel_test
