// Which processes a session, a sampling rule or the local policy means.
#pragma once

#include "sonde/v1/selector.pb.h"

#include <cstdint>
#include <string>

namespace agent::plan {

// A process, in the words that selectors use.
struct Subject {
  uint32_t pid = 0;
  std::string service;
  std::string executable; // path as the process sees it
};

// `pattern` is a path or name with * ? [] wildcards; * crosses slashes. An empty one matches
// everything.
bool matches(const std::string& pattern, const std::string& text);
// Hosts and agents were chosen by the control plane; only service, executable and pids are looked
// at.
bool matches(const sonde::v1::Selector& selector, const Subject& subject);

} // namespace agent::plan
