#include "agent/process/inventory.h"

#include "agent/process/binary_catalog.h"
#include "agent/process/exec_events.h"
#include "agent/process/limits.h"
#include "agent/process/live_check.h"
#include "agent/process/proc_files.h"
#include "base/log.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

namespace agent::process {
namespace {

using Clock = std::chrono::steady_clock;

// What an epoll event is about: exits carry the pid, the rest one of these, which no pid reaches.
constexpr uint64_t kStop = uint64_t{1} << 40;
constexpr uint64_t kExec = kStop + 1;
constexpr uint64_t kAnalysed = kStop + 2;

} // namespace

// The thread that follows processes, and everything it owns.
class Inventory::Follower {
 public:
  Follower(const InventoryOptions& options, base::Queue<InventoryEvent>& events)
      : events_(events), proc_(options.proc_directory), catalog_(options, counters_),
        stop_(eventfd(0, EFD_CLOEXEC)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (!options.use_tracepoints) {
      limitation_ = "tracepoints are turned off";
    } else if (auto opened = ExecEvents::open()) {
      exec_events_.emplace(*std::move(opened));
    } else {
      limitation_ = opened.error().message;
    }
  }
  ~Follower() {
    uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof(one));
    if (thread_.joinable()) thread_.join();
  }

  base::Result<void> start() {
    if (!epoll_ || !stop_) return base::errno_error("epoll_create", errno);
    TRY(watch(stop_.get(), kStop));
    TRY(watch(catalog_.fd(), kAnalysed));
    if (exec_events_)
      for (int fd : exec_events_->fds()) TRY(watch(fd, kExec));
    thread_ = std::jthread([this] { run(); });
    return {};
  }
  const std::string& limitation() const { return limitation_; }
  const InventoryCounters& counters() const { return counters_; }

 private:
  // A process that is seen: other programs than Go too, so that a scan looks at each only once.
  struct Seen {
    Process process;
    std::optional<GoProcess> announced;
    base::Fd pidfd; // only where the end matters
  };

  base::Result<void> watch(int fd, uint64_t about) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = about;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return base::errno_error("epoll_ctl", errno);
    return {};
  }

  void run() {
    auto period = std::chrono::milliseconds(
        exec_events_ ? kScanWithTracepointsMs : kScanWithoutTracepointsMs);
    auto next_scan = Clock::now();
    while (true) {
      if (Clock::now() >= next_scan) {
        scan();
        next_scan = Clock::now() + period;
      }
      auto wait =
          std::chrono::duration_cast<std::chrono::milliseconds>(next_scan - Clock::now()).count();
      epoll_event ready[64];
      int n = epoll_wait(epoll_.get(), ready, 64, static_cast<int>(std::max<int64_t>(wait, 0)) + 1);
      bool exec = false;
      for (int i = 0; i < n; ++i) {
        uint64_t about = ready[i].data.u64;
        if (about == kStop) return;
        if (about == kAnalysed) announce_analysed();
        if (about == kExec) exec = true;
        if (about < kStop) forget(static_cast<uint32_t>(about));
      }
      if (exec && follow_execs()) next_scan = Clock::now();
    }
  }

  // True when events were lost, and only a scan can say what happened.
  bool follow_execs() {
    ExecEvents::Batch batch = exec_events_->drain();
    counters_.exec_events += batch.pids.size();
    counters_.exec_events_lost += batch.lost;
    for (uint32_t pid : std::set(batch.pids.begin(), batch.pids.end()))
      look_at(pid, Urgency::kStarted);
    return batch.lost > 0;
  }

  void scan() {
    ++counters_.scans;
    std::vector<uint32_t> pids = proc_.pids();
    std::set<uint32_t> alive(pids.begin(), pids.end());
    std::vector<uint32_t> ended;
    for (const auto& [pid, seen] : seen_)
      if (!alive.contains(pid)) ended.push_back(pid);
    for (uint32_t pid : ended) forget(pid);
    for (uint32_t pid : pids) look_at(pid, Urgency::kScanned);
  }

  void look_at(uint32_t pid, Urgency urgency) {
    auto seen = seen_.find(pid);
    if (seen != seen_.end()) {
      if (proc_.lives(seen->second.process.key)) return;
      forget(pid);
    }
    auto process = proc_.read(pid);
    if (!process || seen_.size() >= kSeenProcessesMax) return;
    auto outcome = catalog_.find(process->key.executable);
    if (!outcome && !ask(process->key, urgency)) return;
    Seen& entry = seen_[pid];
    entry.process = *std::move(process);
    if (outcome && !outcome->is_go()) return;
    if (!watch_exit(pid, entry)) {
      seen_.erase(pid);
      return;
    }
    if (outcome) announce(entry, *outcome);
  }

  // Whether the facts of this executable will come.
  bool ask(const ProcessKey& key, Urgency urgency) {
    if (catalog_.is_pending(key.executable)) return true;
    auto file = proc_.open_executable(key);
    return file && catalog_.request(key.executable, base::Fd(*file), urgency);
  }

  bool watch_exit(uint32_t pid, Seen& entry) {
    entry.pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    // Between reading /proc and now the pid may have become another process's.
    return entry.pidfd && watch(entry.pidfd.get(), pid) && proc_.lives(entry.process.key);
  }

  void announce_analysed() {
    std::map<FileIdentity, BinaryOutcome> finished;
    for (auto& [identity, outcome] : catalog_.take())
      finished.emplace(identity, std::move(outcome));
    std::vector<uint32_t> ended;
    for (auto& [pid, seen] : seen_) {
      auto found = finished.find(seen.process.key.executable);
      if (found == finished.end() || seen.announced) continue;
      if (!found->second.is_go())
        seen.pidfd.reset();
      else if (proc_.lives(seen.process.key))
        announce(seen, found->second);
      else
        ended.push_back(pid);
    }
    for (uint32_t pid : ended) look_at(pid, Urgency::kStarted);
  }

  void announce(Seen& seen, const BinaryOutcome& outcome) {
    GoProcess process{seen.process, outcome.binary, outcome.refusal};
    if (process.binary != nullptr) {
      if (auto bias = proc_.load_bias(seen.process.key, *process.binary)) {
        process.process.load_bias = *bias;
      } else if (bias.error().reason == "PROCESS_GONE") {
        return; // the pidfd tells the rest
      } else {
        process.refusal = bias.error();
        process.binary = nullptr;
      }
    }
    seen.announced = process;
    push(InventoryEvent{InventoryEvent::Kind::kAppeared, std::move(process)});
  }

  void forget(uint32_t pid) {
    auto seen = seen_.find(pid);
    if (seen == seen_.end()) return;
    if (seen->second.announced)
      push(InventoryEvent{InventoryEvent::Kind::kEnded, *std::move(seen->second.announced)});
    seen_.erase(seen);
  }

  void push(InventoryEvent event) {
    if (events_.push(std::move(event))) return;
    if (counters_.events_dropped++ == 0) base::log::warn("process events are dropped: queue full");
  }

  base::Queue<InventoryEvent>& events_;
  InventoryCounters counters_;
  ProcFiles proc_;
  BinaryCatalog catalog_;
  base::Fd stop_;
  base::Fd epoll_;
  std::optional<ExecEvents> exec_events_;
  std::string limitation_;
  std::map<uint32_t, Seen> seen_;
  std::jthread thread_;
};

base::Result<std::unique_ptr<Inventory>>
Inventory::start(InventoryOptions options, base::Queue<InventoryEvent>& events) {
  std::unique_ptr<Inventory> inventory(new Inventory);
  options.request = merged(std::move(options.request), live_check_facts());
  inventory->follower_ = std::make_unique<Follower>(options, events);
  TRY(inventory->follower_->start());
  return inventory;
}

Inventory::Inventory() = default;
Inventory::~Inventory() = default;
const std::string& Inventory::limitation() const { return follower_->limitation(); }
const InventoryCounters& Inventory::counters() const { return follower_->counters(); }

} // namespace agent::process
