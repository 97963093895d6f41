// How the agent gives way to the services of its host.
#pragma once

#include "base/clock.h"

#include <optional>

namespace agent::app {

// Makes the calling thread, and every thread and process it starts from now on, as nice as told (0
// to 19; one that is nicer already stays so) and short in its turns. What the kernel refuses is
// logged and does no harm.
void stand_back(int nice);

// The thread that reads the ring stands back like the others, until records pile up: what the ring
// cannot hold is lost. Then it steps forward, by kNiceStep, and back once it has kept up for
// kCalm. Where the kernel does not allow it (CAP_SYS_NICE) it stays. Belongs to that thread.
class ReaderPriority {
 public:
  explicit ReaderPriority(const base::Clock& clock) : clock_(clock) {}

  void piled_up();
  void kept_up();

 private:
  const base::Clock& clock_;
  std::optional<int> nice_behind_; // set while it stands forward
  base::Nanoseconds piled_up_at_{};
  bool refused_ = false;
};

} // namespace agent::app
