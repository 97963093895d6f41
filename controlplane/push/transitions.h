// Moves sessions on that nobody moves: hosts came or became active, time is over, removal is
// confirmed.
#pragma once

#include "controlplane/push/limits.h"
#include "controlplane/store/pool.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace controlplane::push {

// One thread of its own. Replicas may all run it: the store moves a session once.
class Transitions {
 public:
  // `busy` says whether there are live sessions: without, the store is asked rarely.
  Transitions(store::Pool& pool, std::function<bool()> busy)
      : pool_(pool), busy_(std::move(busy)) {}
  ~Transitions() { stop(); }
  Transitions(const Transitions&) = delete;
  Transitions& operator=(const Transitions&) = delete;

  void start();
  void stop();

 private:
  void run();

  store::Pool& pool_;
  const std::function<bool()> busy_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace controlplane::push
