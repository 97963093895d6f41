#include "controlplane/service/policy.h"

#include "controlplane/service/audit.h"
#include "controlplane/store/offset_tables.h"
#include "controlplane/store/sampling_rules.h"

namespace controlplane::service {

using sonde::v1::OffsetTable;
using sonde::v1::SamplingRule;
using store::Transaction;

Result<SamplingRule> create_sampling_rule(
    const Caller& caller, const sonde::v1::CreateSamplingRuleRequest& request, Services& services) {
  TRY(model::check_request_id(request.request_id()));
  auto rule = TRY(model::complete_sampling_rule(request.sampling_rule()));
  if (request.validate_only()) return rule;
  return services.pool.transaction([&](Transaction& tx) -> Result<SamplingRule> {
    auto created = TRY(store::create_sampling_rule(tx, rule, caller.name, request.request_id()));
    TRY(audit(
        tx, caller, "SamplingRuleService/CreateSamplingRule", "samplingRules/" + created.id()));
    return created;
  });
}

Result<SamplingRule> get_sampling_rule(
    const Caller&, const sonde::v1::GetSamplingRuleRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::find_sampling_rule(tx, request.sampling_rule_id()); });
}

Result<sonde::v1::ListSamplingRulesResponse> list_sampling_rules(
    const Caller&, const sonde::v1::ListSamplingRulesRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::list_sampling_rules(tx, request); });
}

Result<SamplingRule> update_sampling_rule(
    const Caller& caller, const sonde::v1::UpdateSamplingRuleRequest& request, Services& services) {
  const auto& changes = request.sampling_rule();
  return services.pool.transaction([&](Transaction& tx) -> Result<SamplingRule> {
    auto current = TRY(store::find_sampling_rule(tx, changes.id()));
    auto updated = TRY(model::update_sampling_rule(current, changes, request.update_mask()));
    const auto& etag = changes.etag().empty() ? current.etag() : changes.etag();
    auto written = TRY(store::write_sampling_rule(tx, updated, etag));
    TRY(audit(
        tx, caller, "SamplingRuleService/UpdateSamplingRule", "samplingRules/" + changes.id()));
    return written;
  });
}

Result<Empty> delete_sampling_rule(
    const Caller& caller, const sonde::v1::DeleteSamplingRuleRequest& request, Services& services) {
  return services.pool.transaction([&](Transaction& tx) -> Result<Empty> {
    TRY(store::delete_sampling_rule(tx, request.sampling_rule_id(), request.etag()));
    TRY(audit(
        tx, caller, "SamplingRuleService/DeleteSamplingRule",
        "samplingRules/" + request.sampling_rule_id()));
    return Empty();
  });
}

Result<OffsetTable> create_offset_table(
    const Caller& caller, const sonde::v1::CreateOffsetTableRequest& request, Services& services) {
  TRY(model::check_request_id(request.request_id()));
  auto table = TRY(model::complete_offset_table(request.offset_table()));
  if (request.validate_only()) return table;
  return services.pool.transaction([&](Transaction& tx) -> Result<OffsetTable> {
    auto created = TRY(store::create_offset_table(tx, table, caller.name, request.request_id()));
    TRY(audit(tx, caller, "OffsetTableService/CreateOffsetTable", "offsetTables/" + created.id()));
    return created;
  });
}

Result<OffsetTable> get_offset_table(
    const Caller&, const sonde::v1::GetOffsetTableRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::find_offset_table(tx, request.offset_table_id()); });
}

Result<sonde::v1::ListOffsetTablesResponse> list_offset_tables(
    const Caller&, const sonde::v1::ListOffsetTablesRequest& request, Services& services) {
  return services.pool.transaction(
      [&](Transaction& tx) { return store::list_offset_tables(tx, request); });
}

Result<Empty> delete_offset_table(
    const Caller& caller, const sonde::v1::DeleteOffsetTableRequest& request, Services& services) {
  return services.pool.transaction([&](Transaction& tx) -> Result<Empty> {
    TRY(store::delete_offset_table(tx, request.offset_table_id(), request.etag()));
    TRY(audit(
        tx, caller, "OffsetTableService/DeleteOffsetTable",
        "offsetTables/" + request.offset_table_id()));
    return Empty();
  });
}

} // namespace controlplane::service
