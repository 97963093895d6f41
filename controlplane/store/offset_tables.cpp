#include "controlplane/store/offset_tables.h"

#include "base/hex.h"
#include "controlplane/model/desired_state.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/changes.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/uuid.h"

#include <fmt/format.h>

namespace controlplane::store {
namespace {

using sonde::v1::OffsetTable;

constexpr const char* kColumns =
    "id, spec, create_time, created_by, revision,"
    " (select count(*) from offset_table_confirmations c join agents a on a.id = c.agent_id"
    "  where c.offset_table_id = offset_tables.id and a.standing not in ('EVICTED', 'BANNED'))"
    " as confirmations";

base::Error table_not_found(std::string_view id) {
  return base::not_found(
      "OFFSET_TABLE_NOT_FOUND", fmt::format("there is no offset table '{}'", id));
}

Result<OffsetTable> table_of(const Row& row) {
  OffsetTable table;
  if (!table.ParseFromString(row.bytes("spec")))
    return base::internal("offset table " + row.text("id") + " in the store cannot be read");
  table.set_id(row.text("id"));
  *table.mutable_create_time() = row.timestamp("create_time");
  table.set_confirmations(static_cast<int32_t>(row.integer("confirmations")));
  table.set_created_by(row.text("created_by"));
  table.set_etag(row.text("revision"));
  return table;
}

} // namespace

Result<OffsetTable> create_offset_table(
    Transaction& tx, const OffsetTable& table, std::string_view created_by,
    std::string_view request_id) {
  const std::string sha256 = base::sha256(model::content_version(table));
  auto rows = TRY(tx.exec(
      fmt::format(
          "insert into offset_tables (id, go_version, architecture, module, module_version, spec,"
          "  created_by, request_id, request_sha256) "
          "values ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9) on conflict do nothing "
          "returning {}",
          kColumns),
      base::new_uuid(), table.go_version(), table.architecture(), table.module(),
      table.module_version(), Bytes{table.SerializeAsString()}, created_by, request_id,
      Bytes{sha256}));
  if (!rows.empty()) {
    TRY(record_change(tx, ChangeKind::kOffsetTable, rows.front().text("id")));
    return table_of(rows.front());
  }
  rows = TRY(tx.exec(
      fmt::format(
          "select {}, request_sha256 from offset_tables where created_by = $1 and request_id = $2",
          kColumns),
      created_by, request_id));
  if (rows.empty())
    return base::Error{
        base::Code::kAlreadyExists, "OFFSET_TABLE_EXISTS",
        "there is a table of this Go version, architecture and module version: delete it first",
        "offsetTable"};
  if (rows.front().bytes("request_sha256") != sha256) return request_id_reused();
  return table_of(rows.front());
}

Result<OffsetTable> find_offset_table(Transaction& tx, std::string_view id) {
  if (!is_uuid(id)) return table_not_found(id);
  auto rows = TRY(tx.exec(fmt::format("select {} from offset_tables where id = $1", kColumns), id));
  if (rows.empty()) return table_not_found(id);
  return table_of(rows.front());
}

Result<sonde::v1::ListOffsetTablesResponse>
list_offset_tables(Transaction& tx, const sonde::v1::ListOffsetTablesRequest& request) {
  const Page page = TRY(newest_first(
      tx, fmt::format("select {} from offset_tables where true", kColumns), {},
      {.size = request.page_size(), .token = request.page_token()}));
  sonde::v1::ListOffsetTablesResponse response;
  for (const Row& row : page.rows) *response.add_offset_tables() = TRY(table_of(row));
  response.set_next_page_token(page.next_page_token);
  return response;
}

Result<> delete_offset_table(Transaction& tx, std::string_view id, std::string_view etag) {
  if (!is_uuid(id)) return table_not_found(id);
  auto rows = TRY(tx.exec("select revision from offset_tables where id = $1 for update", id));
  if (rows.empty()) return table_not_found(id);
  TRY(check_etag(rows.front().text("revision"), etag));
  TRY(tx.exec("delete from offset_tables where id = $1", id));
  return record_change(tx, ChangeKind::kOffsetTable, id);
}

Result<> write_confirmation(
    Transaction& tx, std::string_view table_id, std::string_view agent_id, bool agrees) {
  if (!is_uuid(table_id) || !is_uuid(agent_id)) return {};
  if (agrees)
    TRY(tx.exec(
        "insert into offset_table_confirmations (offset_table_id, agent_id) "
        "select t.id, a.id from offset_tables t, agents a where t.id = $1 and a.id = $2 "
        "on conflict do nothing",
        table_id, agent_id));
  else
    TRY(tx.exec(
        "delete from offset_table_confirmations where offset_table_id = $1 and agent_id = $2",
        table_id, agent_id));
  return {};
}

Result<std::vector<OffsetTable>> find_offset_tables(Transaction& tx) {
  std::vector<OffsetTable> tables;
  for (Row row : TRY(tx.exec(fmt::format("select {} from offset_tables order by id", kColumns))))
    tables.push_back(TRY(table_of(row)));
  return tables;
}

} // namespace controlplane::store
