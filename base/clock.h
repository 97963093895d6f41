// Time arrives through a constructor: a Clock, real in the programs, manual in the tests.
#pragma once

#include <atomic>
#include <chrono>

namespace base {

using Nanoseconds = std::chrono::nanoseconds;

// Thread-safe. Leases and deadlines count on boot_time (it goes on in suspend, and BPF reads the
// same clock); only what people read is wall_time.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanoseconds boot_time() const = 0; // CLOCK_BOOTTIME
  virtual Nanoseconds wall_time() const = 0; // CLOCK_REALTIME, since 1970-01-01 UTC
};

class SystemClock final : public Clock {
 public:
  Nanoseconds boot_time() const override;
  Nanoseconds wall_time() const override;
};

// Stands still until advanced. Thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(
      Nanoseconds boot_time = std::chrono::hours(1),
      Nanoseconds wall_time = std::chrono::seconds(1'700'000'000))
      : boot_time_(boot_time.count()), wall_time_(wall_time.count()) {}
  Nanoseconds boot_time() const override { return Nanoseconds(boot_time_.load()); }
  Nanoseconds wall_time() const override { return Nanoseconds(wall_time_.load()); }
  void advance(Nanoseconds by) {
    boot_time_ += by.count();
    wall_time_ += by.count();
  }

 private:
  std::atomic<int64_t> boot_time_;
  std::atomic<int64_t> wall_time_;
};

} // namespace base
