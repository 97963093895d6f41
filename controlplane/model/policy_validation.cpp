// Sampling rules and offset tables of validation.h.
#include "controlplane/model/limits.h"
#include "controlplane/model/selector.h"
#include "controlplane/model/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace controlplane::model {
namespace {

using base::invalid_argument;
using base::Result;
using sonde::v1::OffsetTable;
using sonde::v1::SamplingRule;

// go1.22, go1.22.12, go1.27rc1. By hand: under a sanitizer GCC 12 warns inside of <regex>.
bool is_go_version(std::string_view text) {
  auto take = [&](std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
  };
  auto take_number = [&](size_t digits_max) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(digits);
    return digits >= 1 && digits <= digits_max;
  };
  if (!take("go1.") || !take_number(3)) return false;
  if (text.empty()) return true;
  const size_t digits_max = take(".") ? 3 : take("rc") || take("beta") ? 2 : 0;
  return take_number(digits_max) && text.empty();
}

Result<> check_rule(const SamplingRule& rule) {
  if (rule.display_name().size() > kDisplayNameBytesMax)
    return invalid_argument(
               "DISPLAY_NAME_INVALID",
               fmt::format("a display name has at most {} bytes", kDisplayNameBytesMax))
        .at("samplingRule.displayName");
  TRY(check_selector(rule.selector(), "samplingRule.selector"));
  if (rule.selector().max_hosts() != 0)
    return invalid_argument("INVALID_SELECTOR", "a rule is for every host it selects: no maxHosts")
        .at("samplingRule.selector.maxHosts");
  const bool ratio_ok = !rule.has_ratio() || (rule.ratio() >= 0 && rule.ratio() <= 1);
  if (!ratio_ok)
    return invalid_argument(
               "RATIO_OUT_OF_RANGE", fmt::format("{} is not from 0 to 1", rule.ratio()))
        .at("samplingRule.ratio");
  if (rule.spans_per_second() < 0 || rule.spans_per_second() > kSpansPerSecondMax)
    return invalid_argument(
               "RATE_OUT_OF_RANGE",
               fmt::format("spansPerSecond is from 0 (no cap) to {}", kSpansPerSecondMax))
        .at("samplingRule.spansPerSecond");
  return {};
}

} // namespace

Result<SamplingRule> complete_sampling_rule(const SamplingRule& asked) {
  SamplingRule rule = asked;
  rule.clear_id();
  rule.clear_create_time();
  rule.clear_update_time();
  rule.clear_created_by();
  rule.clear_etag();
  TRY(check_rule(rule));
  return rule;
}

Result<SamplingRule> update_sampling_rule(
    const SamplingRule& current, const SamplingRule& changes,
    const google::protobuf::FieldMask& mask) {
  std::vector<std::string> paths(mask.paths().begin(), mask.paths().end());
  if (paths.empty()) {
    if (!changes.display_name().empty()) paths.push_back("display_name");
    if (changes.has_selector()) paths.push_back("selector");
    if (changes.has_ratio()) paths.push_back("ratio");
    if (changes.spans_per_second() != 0) paths.push_back("spans_per_second");
    if (changes.disabled()) paths.push_back("disabled");
  }
  SamplingRule rule = current;
  for (const std::string& path : paths) {
    if (path == "display_name") {
      rule.set_display_name(changes.display_name());
    } else if (path == "selector") {
      *rule.mutable_selector() = changes.selector();
    } else if (path == "ratio") {
      rule.clear_ratio();
      if (changes.has_ratio()) rule.set_ratio(changes.ratio());
    } else if (path == "spans_per_second") {
      rule.set_spans_per_second(changes.spans_per_second());
    } else if (path == "disabled") {
      rule.set_disabled(changes.disabled());
    } else {
      return invalid_argument(
                 "UNKNOWN_FIELD_PATH",
                 fmt::format("{} is no field of a rule that can be set", path))
          .at("updateMask");
    }
  }
  TRY(check_rule(rule));
  return rule;
}

Result<OffsetTable> complete_offset_table(const OffsetTable& asked) {
  auto refuse = [](std::string_view reason, std::string message, const std::string& path) {
    return invalid_argument(reason, std::move(message)).at("offsetTable." + path);
  };
  OffsetTable table = asked;
  table.clear_id();
  table.clear_confirmations();
  table.clear_create_time();
  table.clear_created_by();
  table.clear_etag();
  if (!is_go_version(table.go_version()))
    return refuse("GO_VERSION_INVALID", "a Go version is written as go1.22.12", "goVersion");
  if (table.architecture() != "amd64" && table.architecture() != "arm64")
    return refuse("ARCHITECTURE_INVALID", "the architecture is amd64 or arm64", "architecture");
  if (table.module().empty() && !table.module_version().empty())
    return refuse("MODULE_VERSION_WITHOUT_MODULE", "of which module?", "moduleVersion");
  if (table.module().size() > kOffsetNameBytesMax ||
      table.module_version().size() > kOffsetNameBytesMax)
    return refuse("OFFSET_FIELD_INVALID", "the name is too long", "module");
  if (table.fields().empty() || table.fields_size() > kOffsetFieldsMax)
    return refuse(
        "FIELDS_REQUIRED", fmt::format("a table has 1 to {} fields", kOffsetFieldsMax), "fields");
  std::set<std::pair<std::string, std::string>> seen;
  for (int i = 0; i < table.fields_size(); ++i) {
    const OffsetTable::Field& field = table.fields(i);
    std::string path = fmt::format("fields[{}]", i);
    if (field.type().empty() || field.field().empty() ||
        field.type().size() > kOffsetNameBytesMax || field.field().size() > kOffsetNameBytesMax)
      return refuse("OFFSET_FIELD_INVALID", "type and field are needed", path);
    if (field.offset_bytes() > kOffsetBytesMax || field.size_bytes() > kOffsetBytesMax)
      return refuse("OFFSET_FIELD_INVALID", "no Go struct that is traced is so large", path);
    if (!seen.emplace(field.type(), field.field()).second)
      return refuse(
          "OFFSET_FIELD_REPEATED", fmt::format("{}.{} is there twice", field.type(), field.field()),
          path);
  }
  return table;
}

} // namespace controlplane::model
