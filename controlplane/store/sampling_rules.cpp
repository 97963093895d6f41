#include "controlplane/store/sampling_rules.h"

#include "base/hex.h"
#include "controlplane/model/desired_state.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/changes.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/uuid.h"

#include <fmt/format.h>

namespace controlplane::store {
namespace {

using sonde::v1::SamplingRule;

constexpr const char* kColumns = "id, spec, create_time, update_time, created_by, revision";

base::Error rule_not_found(std::string_view id) {
  return base::not_found(
      "SAMPLING_RULE_NOT_FOUND", fmt::format("there is no sampling rule '{}'", id));
}

Result<SamplingRule> rule_of(const Row& row) {
  SamplingRule rule;
  if (!rule.ParseFromString(row.bytes("spec")))
    return base::internal("sampling rule " + row.text("id") + " in the store cannot be read");
  rule.set_id(row.text("id"));
  *rule.mutable_create_time() = row.timestamp("create_time");
  *rule.mutable_update_time() = row.timestamp("update_time");
  rule.set_created_by(row.text("created_by"));
  rule.set_etag(row.text("revision"));
  return rule;
}

std::string spec_of(const SamplingRule& rule) {
  SamplingRule spec = rule;
  spec.clear_id();
  spec.clear_create_time();
  spec.clear_update_time();
  spec.clear_created_by();
  spec.clear_etag();
  return spec.SerializeAsString();
}

Result<SamplingRule> lock_rule(Transaction& tx, std::string_view id) {
  if (!is_uuid(id)) return rule_not_found(id);
  auto rows = TRY(
      tx.exec(fmt::format("select {} from sampling_rules where id = $1 for update", kColumns), id));
  if (rows.empty()) return rule_not_found(id);
  return rule_of(rows.front());
}

} // namespace

Result<SamplingRule> create_sampling_rule(
    Transaction& tx, const SamplingRule& rule, std::string_view created_by,
    std::string_view request_id) {
  const std::string sha256 = base::sha256(model::content_version(rule));
  auto rows = TRY(tx.exec(
      fmt::format(
          "insert into sampling_rules (id, spec, display_name, disabled, created_by, request_id,"
          "  request_sha256) values ($1, $2, $3, $4, $5, nullif($6, ''), $7) "
          "on conflict (created_by, request_id) where request_id is not null do nothing "
          "returning {}",
          kColumns),
      base::new_uuid(), Bytes{spec_of(rule)}, rule.display_name(), rule.disabled(), created_by,
      request_id, Bytes{sha256}));
  if (!rows.empty()) {
    TRY(record_change(tx, ChangeKind::kSamplingRule, rows.front().text("id")));
    return rule_of(rows.front());
  }
  rows = TRY(tx.exec(
      fmt::format(
          "select {}, request_sha256 from sampling_rules where created_by = $1 and request_id = $2",
          kColumns),
      created_by, request_id));
  if (rows.empty() || rows.front().bytes("request_sha256") != sha256) return request_id_reused();
  return rule_of(rows.front());
}

Result<SamplingRule> find_sampling_rule(Transaction& tx, std::string_view id) {
  if (!is_uuid(id)) return rule_not_found(id);
  auto rows =
      TRY(tx.exec(fmt::format("select {} from sampling_rules where id = $1", kColumns), id));
  if (rows.empty()) return rule_not_found(id);
  return rule_of(rows.front());
}

Result<sonde::v1::ListSamplingRulesResponse>
list_sampling_rules(Transaction& tx, const sonde::v1::ListSamplingRulesRequest& request) {
  const Page page = TRY(newest_first(
      tx, fmt::format("select {} from sampling_rules where true", kColumns), {},
      {.size = request.page_size(), .token = request.page_token()}));
  sonde::v1::ListSamplingRulesResponse response;
  for (const Row& row : page.rows) *response.add_sampling_rules() = TRY(rule_of(row));
  response.set_next_page_token(page.next_page_token);
  return response;
}

Result<SamplingRule>
write_sampling_rule(Transaction& tx, const SamplingRule& rule, std::string_view etag) {
  SamplingRule current = TRY(lock_rule(tx, rule.id()));
  TRY(check_etag(current.etag(), etag));
  auto rows = TRY(tx.exec(
      fmt::format(
          "update sampling_rules set spec = $2, display_name = $3, disabled = $4,"
          "  update_time = now(), revision = revision + 1, xid = pg_current_xact_id() "
          "where id = $1 returning {}",
          kColumns),
      rule.id(), Bytes{spec_of(rule)}, rule.display_name(), rule.disabled()));
  TRY(record_change(tx, ChangeKind::kSamplingRule, rule.id()));
  return rule_of(rows.front());
}

Result<> delete_sampling_rule(Transaction& tx, std::string_view id, std::string_view etag) {
  SamplingRule current = TRY(lock_rule(tx, id));
  TRY(check_etag(current.etag(), etag));
  TRY(tx.exec("delete from sampling_rules where id = $1", id));
  return record_change(tx, ChangeKind::kSamplingRule, id);
}

Result<std::vector<SamplingRule>> find_enabled_sampling_rules(Transaction& tx) {
  std::vector<SamplingRule> rules;
  for (Row row : TRY(tx.exec(
           fmt::format("select {} from sampling_rules where not disabled order by id", kColumns))))
    rules.push_back(TRY(rule_of(row)));
  return rules;
}

} // namespace controlplane::store
