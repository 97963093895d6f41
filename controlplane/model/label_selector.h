// Label selectors, as Kubernetes writes them: "env=prod,zone in (a,b),!canary"; "*" is everything.
#pragma once

#include "base/result.h"

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::model {

using Labels = std::map<std::string, std::string>;

// A value; parse once, match often. As in Kubernetes, `!=` and `notin` also match a label that is
// not there.
class LabelSelector {
 public:
  // Empty text matches everything. INVALID_LABEL_SELECTOR says where it went wrong.
  static base::Result<LabelSelector> parse(std::string_view text);
  bool matches(const Labels& labels) const;

 private:
  enum class Operator { kIn, kNotIn, kExists, kNotExists };
  struct Requirement {
    std::string key;
    Operator op;
    std::set<std::string> values;
  };
  friend class LabelSelectorParser;
  std::vector<Requirement> requirements_;
};

} // namespace controlplane::model
