#include "controlplane/app/health_watch.h"

#include "base/log.h"

#include <algorithm>

namespace controlplane::app {

HealthWatch::HealthWatch(const edge::Readiness& readiness, std::function<void(bool)> tell)
    : readiness_(readiness), tell_(std::move(tell)), thread_([this] { run(); }) {}

HealthWatch::~HealthWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
}

void HealthWatch::run() {
  bool ready = false, complained = false;
  std::unique_lock lock(mutex_);
  do {
    lock.unlock();
    const bool was_ready = ready;
    const auto answers = readiness_.ask();
    const auto problem = std::find_if(
        answers.begin(), answers.end(), [](const auto& answer) { return !answer.problem.empty(); });
    ready = problem == answers.end();
    tell_(ready);
    if (was_ready && !ready) base::log::warn("not ready: {}: {}", problem->name, problem->problem);
    if (complained && ready) base::log::info("ready again");
    complained = (complained || was_ready) && !ready;
    lock.lock();
  } while (!stop_.wait_for(
      lock, ready ? kHealthInterval : kUnreadyInterval, [this] { return stopping_; }));
}

} // namespace controlplane::app
