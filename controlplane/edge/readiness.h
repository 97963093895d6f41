// Whether this replica should get traffic: what it depends on, asked each time, and whether it is
// going down.
#pragma once

#include "base/result.h"

#include <atomic>
#include <functional>
#include <string>
#include <vector>

namespace controlplane::edge {

// Add checks first, then share: thread-safe from then on.
class Readiness {
 public:
  struct Answer {
    std::string name;
    std::string problem; // empty when fine
  };
  void add(std::string name, std::function<base::Result<>()> check) {
    checks_.push_back({std::move(name), std::move(check)});
  }
  // From now on not ready: the balancer looks elsewhere while calls end.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }
  // Blocks on what the checks ask.
  std::vector<Answer> ask() const {
    std::vector<Answer> answers;
    for (const auto& [name, check] : checks_) {
      auto result = check();
      answers.push_back({name, result ? "" : result.error().message});
    }
    if (draining_) answers.push_back({"shutdown", "sonded is shutting down"});
    return answers;
  }

 private:
  struct Check {
    std::string name;
    std::function<base::Result<>()> run;
  };
  std::vector<Check> checks_;
  std::atomic<bool> draining_ = false;
};

} // namespace controlplane::edge
