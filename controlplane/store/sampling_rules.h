// Sampling rules: standing policy, fleet-wide. Changes are recorded for the replicas.
#pragma once

#include "controlplane/store/transaction.h"
#include "sonde/v1/sampling_rule_service.pb.h"

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// `rule` from model::complete_sampling_rule. REQUEST_ID_REUSED.
Result<sonde::v1::SamplingRule> create_sampling_rule(
    Transaction& tx, const sonde::v1::SamplingRule& rule, std::string_view created_by,
    std::string_view request_id);
// SAMPLING_RULE_NOT_FOUND, here and below.
Result<sonde::v1::SamplingRule> find_sampling_rule(Transaction& tx, std::string_view id);
// Newest first. INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListSamplingRulesResponse>
list_sampling_rules(Transaction& tx, const sonde::v1::ListSamplingRulesRequest& request);
// `rule` from model::update_sampling_rule. ETAG_MISMATCH.
Result<sonde::v1::SamplingRule>
write_sampling_rule(Transaction& tx, const sonde::v1::SamplingRule& rule, std::string_view etag);
Result<> delete_sampling_rule(Transaction& tx, std::string_view id, std::string_view etag);

// Those that are enabled, by id: what push gives to agents.
Result<std::vector<sonde::v1::SamplingRule>> find_enabled_sampling_rules(Transaction& tx);

} // namespace controlplane::store
