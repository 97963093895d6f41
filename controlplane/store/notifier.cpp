#include "controlplane/store/notifier.h"

#include "base/log.h"

namespace controlplane::store {

Notifier::Notifier(ConnectionOptions options)
    : options_(std::move(options)), thread_([this] { run(); }) {}

Notifier::~Notifier() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Notifier::wake() {
  {
    std::lock_guard lock(mutex_);
    wanted_ = true;
  }
  changed_.notify_one();
}

void Notifier::run() {
  std::unique_ptr<Connection> connection;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return wanted_ || stopping_; });
    if (!wanted_) return;
    wanted_ = false;
    lock.unlock();
    if (!connection) {
      auto connected = connect(options_);
      if (connected.ok())
        connection = *std::move(connected);
      else
        base::log::warn("change feed: cannot notify: {}", connected.error().message);
    }
    if (connection) {
      try {
        pqxx::nontransaction(connection->pq).exec(std::string("notify ") + kChangeChannel);
      } catch (...) {
        base::log::warn("change feed: cannot notify: {}", failure_of_exception().error.message);
        connection.reset();
      }
    }
    lock.lock();
  }
}

} // namespace controlplane::store
