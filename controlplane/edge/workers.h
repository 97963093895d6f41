// The fixed pool of threads on which calls run and wait for the store: as many as the store has
// connections.
#pragma once

#include "base/queue.h"

#include <functional>
#include <thread>
#include <vector>

namespace controlplane::edge {

// Thread-safe. The destructor finishes what was accepted.
class Workers {
 public:
  Workers(size_t threads, size_t waiting_max);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // False when too many calls wait already; the task is then dropped and counted.
  bool post(std::function<void()> task) { return tasks_.push(std::move(task)); }
  size_t waiting() const { return tasks_.size(); }
  uint64_t refused() const { return tasks_.dropped(); }

 private:
  base::Queue<std::function<void()>> tasks_;
  std::vector<std::jthread> threads_;
};

} // namespace controlplane::edge
