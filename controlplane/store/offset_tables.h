// Offset tables: where fields lie in Go structs, as the fleet learned it. Changes are recorded for
// the replicas.
#pragma once

#include "controlplane/store/transaction.h"
#include "sonde/v1/offset_table_service.pb.h"

#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// `table` from model::complete_offset_table. OFFSET_TABLE_EXISTS for a second one of the same Go
// version, architecture and module version; REQUEST_ID_REUSED.
Result<sonde::v1::OffsetTable> create_offset_table(
    Transaction& tx, const sonde::v1::OffsetTable& table, std::string_view created_by,
    std::string_view request_id);
// OFFSET_TABLE_NOT_FOUND, here and below.
Result<sonde::v1::OffsetTable> find_offset_table(Transaction& tx, std::string_view id);
// Newest first. INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListOffsetTablesResponse>
list_offset_tables(Transaction& tx, const sonde::v1::ListOffsetTablesRequest& request);
// ETAG_MISMATCH.
Result<> delete_offset_table(Transaction& tx, std::string_view id, std::string_view etag);

// An agent read the same from a binary of its own, or something else: then it confirms no longer.
// Nothing when there is no such table or agent (any more).
Result<> write_confirmation(
    Transaction& tx, std::string_view table_id, std::string_view agent_id, bool agrees);

// All of them, by id: what push gives to agents.
Result<std::vector<sonde::v1::OffsetTable>> find_offset_tables(Transaction& tx);

} // namespace controlplane::store
