#include "controlplane/push/ticker.h"

#include "base/log.h"

namespace controlplane::push {

void Ticker::start() {
  thread_ = std::jthread([this] {
    std::unique_lock lock(mutex_);
    while (!stop_.wait_for(lock, kTickInterval, [&] { return stopping_; })) {
      lock.unlock();
      tick();
      lock.lock();
    }
  });
}

void Ticker::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Ticker::tick() {
  streams_.end_expired(clock_.wall_time());
  auto sessions = fleet_.all();
  for (const auto& session : sessions) session->check_time();
  if (clock_.boot_time() < refresh_due_) return;
  // A replica that does not know what was stopped must not keep it alive.
  auto age = view_age_();
  bool old = !age || *age > kViewAgeMax;
  if (old && !view_was_old_)
    base::log::warn("push: no leases are refreshed: the view of the store is too old");
  if (!old && view_was_old_) base::log::info("push: leases are refreshed again");
  view_was_old_ = old;
  if (old) return;
  refresh_due_ = clock_.boot_time() + refresh_interval_;
  for (const auto& session : sessions) session->refresh_leases();
}

} // namespace controlplane::push
