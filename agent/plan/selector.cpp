#include "agent/plan/selector.h"

#include <fnmatch.h>

#include <algorithm>

namespace agent::plan {

bool matches(const std::string& pattern, const std::string& text) {
  return pattern.empty() || fnmatch(pattern.c_str(), text.c_str(), FNM_NOESCAPE) == 0;
}

bool matches(const sonde::v1::Selector& selector, const Subject& subject) {
  const auto& pids = selector.pids();
  return matches(selector.service(), subject.service) &&
         matches(selector.executable(), subject.executable) &&
         (pids.empty() || std::find(pids.begin(), pids.end(), subject.pid) != pids.end());
}

} // namespace agent::plan
