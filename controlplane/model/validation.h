// What callers send, checked and completed. Every refusal is INVALID_ARGUMENT with a stable reason
// and the JSON path of the field at fault.
#pragma once

#include "base/result.h"
#include "sonde/v1/offset_table_service.pb.h"
#include "sonde/v1/sampling_rule_service.pb.h"
#include "sonde/v1/session_service.pb.h"

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <set>
#include <string>

namespace controlplane::model {

using google::protobuf::Timestamp;

// What this control plane can do beyond the protos.
struct SessionPolicy {
  std::set<std::string> otlp_destinations; // names that Export.otlp may use
};

// A session as its author may write it: fields that only we set are dropped, defaults are filled in
// (ttl, probe sides, propagation, export.store, ratio), and the expiration is either a ttl or an
// expire_time after `now`. Reasons:
//   DISPLAY_NAME_INVALID EMPTY_SELECTOR INVALID_LABEL_SELECTOR INVALID_SELECTOR PROBES_REQUIRED
//   TOO_MANY_PROBES PROBE_UNSUPPORTED ROUTE_UNSUPPORTED RATIO_OUT_OF_RANGE RATE_OUT_OF_RANGE
//   TAIL_SAMPLING_UNSUPPORTED BUDGET_OUT_OF_RANGE PROPAGATION_UNSUPPORTED UNKNOWN_DESTINATION
//   TTL_TOO_LONG TTL_TOO_SHORT EXPIRE_TIME_IN_THE_PAST UNKNOWN_ENUM_VALUE
base::Result<sonde::v1::Session> complete_session(
    const sonde::v1::Session& session, const SessionPolicy& policy, const Timestamp& now);

// `current` with the fields of the mask replaced: display_name, sampling and what is below it,
// budget and what is below it, expire_time, ttl. An empty mask means every one of these that is
// set. UNKNOWN_FIELD_PATH, IMMUTABLE_FIELD, and what complete_session refuses.
base::Result<sonde::v1::Session> update_session(
    const sonde::v1::Session& current, const sonde::v1::Session& changes,
    const google::protobuf::FieldMask& mask, const Timestamp& now);

// The ttl of ExtendSession: TTL_TOO_SHORT, TTL_TOO_LONG.
base::Result<> check_ttl(const google::protobuf::Duration& ttl, std::string_view path);

base::Result<sonde::v1::SamplingRule> complete_sampling_rule(const sonde::v1::SamplingRule& rule);
// display_name, selector, ratio, spans_per_second, disabled.
base::Result<sonde::v1::SamplingRule> update_sampling_rule(
    const sonde::v1::SamplingRule& current, const sonde::v1::SamplingRule& changes,
    const google::protobuf::FieldMask& mask);

//   GO_VERSION_INVALID ARCHITECTURE_INVALID FIELDS_REQUIRED OFFSET_FIELD_INVALID
//   OFFSET_FIELD_REPEATED MODULE_VERSION_WITHOUT_MODULE
base::Result<sonde::v1::OffsetTable> complete_offset_table(const sonde::v1::OffsetTable& table);

// REQUEST_ID_INVALID; empty is allowed.
base::Result<> check_request_id(std::string_view request_id);

// 50 for 0, at most 1000; PAGE_SIZE_NEGATIVE.
base::Result<int> page_size(int asked);

// "http", "grpc", …: the name of the kind in the oneof; "" when none is set.
std::string probe_kind(const sonde::v1::Probe& probe);

} // namespace controlplane::model
