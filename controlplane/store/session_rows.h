// Of the store's bodies only: sessions as rows.
#pragma once

#include "controlplane/model/session_state.h"
#include "controlplane/store/transaction.h"
#include "sonde/v1/session.pb.h"

#include <string_view>
#include <vector>

namespace controlplane::store {

// What session_of() reads.
inline constexpr const char* kSessionColumns =
    "id, spec, display_name, state, state_detail, create_time, start_time, end_time, update_time,"
    " expire_time, created_by, revision";
Result<sonde::v1::Session> session_of(const Row& row);
model::SessionState state_named(const std::string& name);
base::Error session_not_found(std::string_view session_id);

// kWithUsage also adds up what each host said of its cost and losses.
enum class Detail { kCounts, kWithUsage };
Result<> add_summaries(Transaction& tx, std::vector<sonde::v1::Session>& sessions, Detail detail);

} // namespace controlplane::store
