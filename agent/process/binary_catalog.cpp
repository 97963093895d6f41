#include "agent/process/binary_catalog.h"

#include "agent/process/limits.h"
#include "agent/process/proc_files.h"
#include "base/log.h"

#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

namespace agent::process {
namespace {

using Clock = std::chrono::steady_clock;

bool may_be_tried_again(const BinaryOutcome& outcome) {
  return outcome.refusal &&
         (outcome.refusal->reason == "ANALYSIS_FAILED" ||
          outcome.refusal->reason == "SYSTEM_ERROR" || outcome.refusal->reason == "INTERNAL");
}

} // namespace

BinaryCatalog::BinaryCatalog(const InventoryOptions& options, InventoryCounters& counters)
    : request_(options.request), counters_(counters), analyzer_(options.worker),
      cache_(options.cache_directory, options.request),
      finished_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), thread_([this] { run(); }) {}

BinaryCatalog::~BinaryCatalog() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::optional<BinaryOutcome> BinaryCatalog::find(const FileIdentity& identity) {
  auto known = known_.find(identity);
  if (known == known_.end()) return std::nullopt;
  if (Clock::now() < known->second.forget_at) return known->second.outcome;
  known_.erase(known);
  return std::nullopt;
}

bool BinaryCatalog::request(const FileIdentity& identity, base::Fd file, Urgency urgency) {
  if (pending_.size() >= kPendingBinariesMax) {
    ++counters_.binaries_deferred;
    return false;
  }
  pending_.emplace(identity, true);
  {
    std::lock_guard lock(mutex_);
    auto place = urgency == Urgency::kStarted ? jobs_.begin() : jobs_.end();
    jobs_.insert(place, Job{identity, std::move(file)});
  }
  wake_.notify_one();
  return true;
}

std::vector<std::pair<FileIdentity, BinaryOutcome>> BinaryCatalog::take() {
  uint64_t count = 0;
  (void)!read(finished_event_.get(), &count, sizeof(count));
  std::vector<std::pair<FileIdentity, BinaryOutcome>> finished;
  {
    std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (const auto& [identity, outcome] : finished) {
    pending_.erase(identity);
    // Which one is forgotten matters little: it is on disk, or not Go.
    if (known_.size() >= kKnownBinariesMax) known_.erase(known_.begin());
    auto forget_at = may_be_tried_again(outcome)
                         ? Clock::now() + std::chrono::seconds(kFailedAnalysisSeconds)
                         : Clock::time_point::max();
    known_[identity] = Known{outcome, forget_at};
  }
  return finished;
}

void BinaryCatalog::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto asked = [this] { return stopping_ || !jobs_.empty(); };
    if (analyzer_.worker_pid() < 0) {
      wake_.wait(lock, asked);
    } else if (!wake_.wait_for(lock, std::chrono::milliseconds(kWorkerIdleMs), asked)) {
      analyzer_.end_worker(); // it ends by itself, and would wait for us to take note
      continue;
    }
    if (stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    BinaryOutcome outcome = examine(job);
    lock.lock();
    finished_.emplace_back(job.identity, std::move(outcome));
    uint64_t one = 1;
    (void)!write(finished_event_.get(), &one, sizeof(one));
  }
}

BinaryOutcome BinaryCatalog::examine(const Job& job) {
  if (auto cached = cache_.load(job.identity)) {
    ++counters_.cache_hits;
    return BinaryOutcome{shared(*std::move(cached)), std::nullopt};
  }
  ++counters_.analyses;
  auto info = analyzer_.analyse(job.file.get(), request_);
  struct stat status {};
  if (info && (fstat(job.file.get(), &status) != 0 || identity_of(status) != job.identity))
    info = base::Error{
        base::Code::kAborted, "ANALYSIS_FAILED", "the executable changed while it was read", {}};
  if (!info) {
    BinaryOutcome outcome{nullptr, std::move(info).error()};
    if (may_be_tried_again(outcome)) {
      ++counters_.analyses_failed;
      base::log::warn(
          "analysis of device {} inode {}: {}", job.identity.device, job.identity.inode,
          outcome.refusal->message);
    }
    return outcome;
  }
  cache_.store(job.identity, *info);
  return BinaryOutcome{shared(*std::move(info)), std::nullopt};
}

// Copies of one program, in other containers or under other names, share one value.
std::shared_ptr<const BinaryInfo> BinaryCatalog::shared(BinaryInfo info) {
  std::erase_if(by_hash_, [](const auto& entry) { return entry.second.expired(); });
  auto& entry = by_hash_[info.binary_hash];
  if (auto known = entry.lock(); known && *known == info) return known;
  auto made = std::make_shared<const BinaryInfo>(std::move(info));
  entry = made;
  return made;
}

} // namespace agent::process
