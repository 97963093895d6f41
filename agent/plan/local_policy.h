// What this host forbids, whatever the control plane asks for: read from a file on the host at the
// start.
#pragma once

#include "agent/plan/selector.h"
#include "base/result.h"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace agent::plan {

// Plain value. Empty lists and unset limits forbid nothing.
struct LocalPolicy {
  std::set<std::string> forbidden_probes;         // kinds as in the oneof of sonde.v1.Probe: "http"
  std::vector<std::string> forbidden_executables; // globs over the path the process sees
  std::vector<std::string> forbidden_services;    // globs
  std::set<uint32_t> forbidden_pids;
  std::optional<size_t> sessions_max;
  std::optional<double> cpu_fraction_max;       // of one CPU, over all sessions
  std::optional<int64_t> events_per_second_max; // over all sessions
};

// Parses the YAML of the file:
//
//   forbiddenProbes: [http]
//   neverTouch:
//     executables: ["/usr/bin/vault*"]
//     services: ["payments"]
//     pids: [4711]
//   limits:
//     sessions: 4
//     cpuFraction: 0.05
//     eventsPerSecond: 20000
//
// POLICY_INVALID for anything that is not in this list: a misspelled prohibition must not pass as
// none.
base::Result<LocalPolicy> parse_local_policy(const std::string& yaml);

// Why the policy keeps us away from the process; nothing when it does not.
std::optional<std::string> forbids(const LocalPolicy& policy, const Subject& subject);

} // namespace agent::plan
