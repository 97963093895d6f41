// Sampling rules and offset tables.
#include "sdk-clients/cli/commands.h"
#include "sdk-clients/cli/ids.h"
#include "sdk-clients/cli/input.h"

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace cli {

namespace v1 = sonde::v1;
using base::Result;
using google::protobuf::util::MessageDifferencer;

namespace {

Result<std::vector<v1::SamplingRule>> all_rules(Context& context) {
  return sonde::all_pages(
      context.client, &sonde::Client::list_sampling_rules, v1::ListSamplingRulesRequest(),
      &v1::ListSamplingRulesResponse::sampling_rules);
}

// The part of a rule that people write.
v1::SamplingRule written_part(v1::SamplingRule rule) {
  rule.clear_id();
  rule.clear_create_time();
  rule.clear_update_time();
  rule.clear_created_by();
  rule.clear_etag();
  return rule;
}

Result<std::vector<v1::SamplingRule>> rules_in(const std::string& file) {
  const auto text = TRY(read_input(file));
  const auto messages = TRY(parse_messages(file, text, v1::SamplingRule::default_instance()));
  std::vector<v1::SamplingRule> rules;
  for (const auto& message : messages) {
    auto& rule = rules.emplace_back();
    rule.CopyFrom(*message);
    if (rule.display_name().empty())
      return base::invalid_argument(
          "FILE_INVALID", file + ": every rule needs a displayName, by which it is found again");
  }
  return rules;
}

Result<void> update(Context& context, const v1::SamplingRule& present, v1::SamplingRule wanted) {
  v1::UpdateSamplingRuleRequest request;
  wanted.set_id(present.id());
  wanted.set_etag(present.etag());
  *request.mutable_sampling_rule() = std::move(wanted);
  for (const char* path : {"display_name", "selector", "ratio", "spans_per_second", "disabled"})
    request.mutable_update_mask()->add_paths(path);
  TRY(context.client.update_sampling_rule(request));
  return {};
}

// "created", "updated" or "unchanged".
Result<std::string> apply(
    Context& context, const std::vector<v1::SamplingRule>& present, const v1::SamplingRule& wanted,
    bool diff) {
  const auto same_name = std::find_if(present.begin(), present.end(), [&](const auto& rule) {
    return rule.display_name() == wanted.display_name();
  });
  if (same_name == present.end()) {
    v1::CreateSamplingRuleRequest request;
    *request.mutable_sampling_rule() = wanted;
    request.set_validate_only(diff);
    TRY(context.client.create_sampling_rule(std::move(request)));
    return std::string(diff ? "would be created" : "created");
  }
  MessageDifferencer differencer;
  std::string changes;
  differencer.ReportDifferencesToString(&changes);
  if (differencer.Compare(written_part(*same_name), wanted)) return std::string("unchanged");
  if (!diff) TRY(update(context, *same_name, wanted));
  while (!changes.empty() && changes.back() == '\n') changes.pop_back();
  return fmt::format("{}:\n  {}", diff ? "would change" : "updated", changes);
}

} // namespace

Outcome list_rules(Context& context) {
  const auto rules = TRY(all_rules(context));
  if (context.format == Format::kTable) {
    context.print(render_rules(rules, now(), context.style));
    return kSuccess;
  }
  v1::ListSamplingRulesResponse all;
  all.mutable_sampling_rules()->Assign(rules.begin(), rules.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome apply_rules(Context& context, const std::string& file, bool diff) {
  const auto wanted = TRY(rules_in(file));
  const auto present = TRY(all_rules(context));
  for (const auto& rule : wanted) {
    const auto what = TRY(apply(context, present, rule, diff).context(rule.display_name()));
    context.hint(fmt::format("{} {}\n", rule.display_name(), what));
  }
  return context.format == Format::kTable ? Outcome(kSuccess) : list_rules(context);
}

Outcome delete_rule(Context& context, const std::string& typed) {
  const auto id = TRY(whole_rule_id(context, typed));
  TRY(context.client.delete_sampling_rule(id));
  context.hint("deleted\n");
  return kSuccess;
}

Outcome list_offset_tables(Context& context) {
  const auto tables = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_offset_tables, v1::ListOffsetTablesRequest(),
      &v1::ListOffsetTablesResponse::offset_tables));
  if (context.format == Format::kTable) {
    context.print(render_offset_tables(tables, context.style));
    return kSuccess;
  }
  v1::ListOffsetTablesResponse all;
  all.mutable_offset_tables()->Assign(tables.begin(), tables.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome show_offset_table(Context& context, const std::string& typed) {
  const auto id = TRY(whole_offset_table_id(context, typed));
  const auto offsets = TRY(context.client.get_offset_table(id));
  context.print(
      format_message(offsets, context.format == Format::kTable ? Format::kYaml : context.format));
  return kSuccess;
}

} // namespace cli
