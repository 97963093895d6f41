// How many calls, how they ended and how long they took; and the text that Prometheus reads.
// Thread-safe.
#pragma once

#include "base/error.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace controlplane::edge {

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

// Writes families in Prometheus text format 0.0.4.
class MetricsWriter {
 public:
  // Begins a family; type is counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);
  // A sample of the family begun last; `suffix` is "_bucket", "_sum" or "_count" of a histogram.
  void sample(const Labels& labels, double value, std::string_view suffix = "");
  std::string take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

// What /metrics shows: every part of the program adds a collector before it is served.
class MetricsPage {
 public:
  using Collector = std::function<void(MetricsWriter&)>;
  void add(Collector collector) { collectors_.push_back(std::move(collector)); }
  std::string render() const;

 private:
  std::vector<Collector> collectors_;
};

class CallMetrics {
 public:
  void record(
      std::string_view method, std::string_view transport, base::Code code,
      std::chrono::nanoseconds duration);
  // Something refused before it was a call: HEADER_TOO_LARGE, TOO_MANY_CONNECTIONS, OVERLOADED, …
  void refused(std::string_view reason);
  void write(MetricsWriter& writer) const;

 private:
  static constexpr std::array kBucketSeconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                             0.1,   0.25,   0.5,   1.0,  5.0};
  struct Durations {
    std::array<uint64_t, kBucketSeconds.size()> buckets{};
    uint64_t count = 0;
    double sum_seconds = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::array<std::string, 3>, uint64_t> calls_;    // method, transport, code
  std::map<std::string, Durations, std::less<>> durations_; // by method
  std::map<std::string, uint64_t, std::less<>> refused_;
};

} // namespace controlplane::edge
