// The use cases of SamplingRuleService and OffsetTableService: standing policy and learned facts,
// both pushed to every agent they are for.
#pragma once

#include "controlplane/model/caller.h"
#include "controlplane/service/services.h"
#include "sonde/v1/offset_table_service.pb.h"
#include "sonde/v1/sampling_rule_service.pb.h"

#include <google/protobuf/empty.pb.h>

namespace controlplane::service {

using base::Result;
using google::protobuf::Empty;
using model::Caller;

// With validate_only the answer is what would be stored, without an id. Refusals:
// model::complete_sampling_rule, model::complete_offset_table, and those of the store.
Result<sonde::v1::SamplingRule> create_sampling_rule(
    const Caller& caller, const sonde::v1::CreateSamplingRuleRequest& request, Services& services);
Result<sonde::v1::SamplingRule> get_sampling_rule(
    const Caller& caller, const sonde::v1::GetSamplingRuleRequest& request, Services& services);
Result<sonde::v1::ListSamplingRulesResponse> list_sampling_rules(
    const Caller& caller, const sonde::v1::ListSamplingRulesRequest& request, Services& services);
Result<sonde::v1::SamplingRule> update_sampling_rule(
    const Caller& caller, const sonde::v1::UpdateSamplingRuleRequest& request, Services& services);
Result<Empty> delete_sampling_rule(
    const Caller& caller, const sonde::v1::DeleteSamplingRuleRequest& request, Services& services);

Result<sonde::v1::OffsetTable> create_offset_table(
    const Caller& caller, const sonde::v1::CreateOffsetTableRequest& request, Services& services);
Result<sonde::v1::OffsetTable> get_offset_table(
    const Caller& caller, const sonde::v1::GetOffsetTableRequest& request, Services& services);
Result<sonde::v1::ListOffsetTablesResponse> list_offset_tables(
    const Caller& caller, const sonde::v1::ListOffsetTablesRequest& request, Services& services);
Result<Empty> delete_offset_table(
    const Caller& caller, const sonde::v1::DeleteOffsetTableRequest& request, Services& services);

} // namespace controlplane::service
