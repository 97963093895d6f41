// The thread that reads the ring: records in, batches of spans out.
#pragma once

#include "agent/app/scheduling.h"
#include "agent/event/counts.h"
#include "agent/event/record_reader.h"
#include "agent/probe/bpf_kernel.h"
#include "agent/probe/reconciler.h"
#include "agent/telemetry/telemetry.h"
#include "base/clock.h"
#include "base/queue.h"

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>

namespace agent::app {

// What is traced from now on, and who the processes are.
struct Retrace {
  std::vector<telemetry::SessionView> sessions;
  std::map<uint32_t, telemetry::ProcessResource> processes; // by pid
};

// The parts of a session as telemetry wants them: one view per session, with its processes.
std::vector<telemetry::SessionView> views_of(const probe::Traced& traced);

// Of one session, since its first process was traced.
struct SessionTotals {
  uint64_t spans = 0;
  std::map<std::string, uint64_t> losses; // by reason
};

// What this thread has counted since the agent started.
struct EventTotals {
  uint64_t records = 0;
  std::map<std::string, uint64_t> losses;        // of the stitcher, by reason
  std::map<std::string, SessionTotals> sessions; // those of now and the kSessionsRemembered before
};

// Thread-safe; the sink is called on the thread.
class EventThread {
 public:
  // `losses` answers what the loaded programs have lost so far; called on the thread.
  EventThread(
      telemetry::HostResource host, const base::Clock& clock,
      std::function<std::map<std::string, uint64_t>()> losses, telemetry::Telemetry::Sink sink);
  // Reads what is left and hands it out.
  ~EventThread();

  // For the probe thread: closing() returns when everything that was recorded is handed out.
  probe::RingReader ring_reader();
  // Takes effect behind everything that is in the ring now.
  void retrace(Retrace retrace);
  EventTotals totals() const;

 private:
  struct RingOpened {
    base::Fd fd;
  };
  struct RingClosing {
    std::promise<void> done;
  };
  using Command = std::variant<RingOpened, RingClosing, Retrace>;

  void run();
  void execute(RingOpened& command);
  void execute(RingClosing& command);
  void execute(Retrace& command);
  void read(std::chrono::milliseconds timeout);
  void count_losses();
  void finish_sessions();
  SessionTotals totals_of(const std::string& session_id) const;
  void publish_totals();

  const base::Clock& clock_;
  ReaderPriority priority_;
  const std::function<std::map<std::string, uint64_t>()> kernel_losses_;
  telemetry::Telemetry telemetry_;
  std::unique_ptr<event::RecordReader> reader_;
  std::set<uint32_t> traced_pids_;
  std::set<std::string> traced_sessions_;
  std::map<std::string, SessionTotals> finished_;  // of sessions while nothing was traced for them
  std::map<std::string, uint64_t> counted_losses_; // handed to telemetry already
  uint64_t records_before_ = 0;                    // of readers that are gone
  std::map<std::string, uint64_t> losses_before_;
  base::Queue<Command> commands_;
  mutable std::mutex mutex_; // of totals_
  EventTotals totals_;
  std::jthread thread_; // last: it uses the rest
};

} // namespace agent::app
