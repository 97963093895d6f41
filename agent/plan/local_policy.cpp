#include "agent/plan/local_policy.h"

#include <yaml-cpp/yaml.h>

#include <functional>
#include <map>

namespace agent::plan {
namespace {

using Reader = std::function<void(const YAML::Node&)>;

base::Error invalid(const std::string& what) {
  return base::invalid_argument("POLICY_INVALID", what);
}

// Hands each entry of a mapping to its reader; unknown keys are errors.
base::Result<> read_mapping(
    const YAML::Node& node, const std::string& where,
    const std::map<std::string, Reader>& readers) {
  if (node.IsNull()) return {};
  if (!node.IsMap()) return invalid(where + " must be a mapping");
  for (const auto& entry : node) {
    auto key = entry.first.as<std::string>();
    auto reader = readers.find(key);
    if (reader == readers.end()) return invalid("unknown key '" + key + "' in " + where);
    reader->second(entry.second);
  }
  return {};
}

base::Result<> check(const LocalPolicy& policy) {
  static const std::set<std::string> kinds = {"http",     "grpc",    "sql",
                                              "function", "runtime", "cpuProfile"};
  for (const auto& kind : policy.forbidden_probes)
    if (!kinds.contains(kind)) return invalid("there is no probe kind '" + kind + "'");
  if (policy.cpu_fraction_max && !(*policy.cpu_fraction_max >= 0))
    return invalid("limits.cpuFraction must not be negative");
  if (policy.events_per_second_max && *policy.events_per_second_max < 0)
    return invalid("limits.eventsPerSecond must not be negative");
  return {};
}

base::Result<LocalPolicy> read_policy(const YAML::Node& root) {
  LocalPolicy policy;
  base::Result<> nested;
  auto keep = [&nested](base::Result<> result) {
    if (nested.ok()) nested = std::move(result);
  };
  auto never_touch = [&](const YAML::Node& node) {
    keep(read_mapping(
        node, "neverTouch",
        {{"executables",
          [&](const YAML::Node& n) {
            policy.forbidden_executables = n.as<std::vector<std::string>>();
          }},
         {"services",
          [&](const YAML::Node& n) {
            policy.forbidden_services = n.as<std::vector<std::string>>();
          }},
         {"pids", [&](const YAML::Node& n) {
            for (auto pid : n.as<std::vector<uint32_t>>()) policy.forbidden_pids.insert(pid);
          }}}));
  };
  auto limits = [&](const YAML::Node& node) {
    keep(read_mapping(
        node, "limits",
        {{"sessions", [&](const YAML::Node& n) { policy.sessions_max = n.as<size_t>(); }},
         {"cpuFraction", [&](const YAML::Node& n) { policy.cpu_fraction_max = n.as<double>(); }},
         {"eventsPerSecond",
          [&](const YAML::Node& n) { policy.events_per_second_max = n.as<int64_t>(); }}}));
  };
  auto forbidden_probes = [&](const YAML::Node& node) {
    for (auto& kind : node.as<std::vector<std::string>>()) policy.forbidden_probes.insert(kind);
  };
  TRY(read_mapping(
      root, "the policy",
      {{"forbiddenProbes", forbidden_probes}, {"neverTouch", never_touch}, {"limits", limits}}));
  TRY(std::move(nested));
  TRY(check(policy));
  return policy;
}

} // namespace

base::Result<LocalPolicy> parse_local_policy(const std::string& yaml) {
  try {
    return read_policy(YAML::Load(yaml));
  } catch (const YAML::Exception& exception) {
    return invalid(exception.what());
  }
}

std::optional<std::string> forbids(const LocalPolicy& policy, const Subject& subject) {
  if (policy.forbidden_pids.contains(subject.pid))
    return "the local policy keeps pid " + std::to_string(subject.pid) + " untouched";
  for (const auto& pattern : policy.forbidden_executables)
    if (!pattern.empty() && matches(pattern, subject.executable))
      return "the local policy keeps executables like " + pattern + " untouched";
  for (const auto& pattern : policy.forbidden_services)
    if (!pattern.empty() && matches(pattern, subject.service))
      return "the local policy keeps services like " + pattern + " untouched";
  return std::nullopt;
}

} // namespace agent::plan
