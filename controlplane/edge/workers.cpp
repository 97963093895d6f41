#include "controlplane/edge/workers.h"

namespace controlplane::edge {

Workers::Workers(size_t threads, size_t waiting_max) : tasks_(waiting_max) {
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto task = tasks_.pop()) (*task)();
    });
  }
}

Workers::~Workers() { tasks_.close(); }

} // namespace controlplane::edge
