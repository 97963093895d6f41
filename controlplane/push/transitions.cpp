#include "controlplane/push/transitions.h"

#include "base/log.h"
#include "controlplane/store/sessions.h"

namespace controlplane::push {

void Transitions::start() {
  thread_ = std::jthread([this] { run(); });
}

void Transitions::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Transitions::run() {
  int idle_rounds = 0;
  bool failing = false;
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, kTransitionInterval, [&] { return stopping_; })) {
    if (!busy_() && ++idle_rounds < kIdleTransitionRounds) continue;
    idle_rounds = 0;
    lock.unlock();
    auto moved = pool_.transaction(
        [](store::Transaction& tx) { return store::advance_sessions(tx, kStopTimeout); });
    if (!moved && !failing)
      base::log::warn("push: sessions are not moved: {}", moved.error().message);
    failing = !moved;
    lock.lock();
  }
}

} // namespace controlplane::push
