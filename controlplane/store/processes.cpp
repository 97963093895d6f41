#include "controlplane/store/processes.h"

#include "controlplane/model/page_token.h"
#include "controlplane/model/selector.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/uuid.h"

#include <fmt/format.h>

#include <map>

namespace controlplane::store {
namespace {

using sonde::v1::Process;

Result<> upsert(
    Transaction& tx, std::string_view agent_id, std::string_view hostname,
    const std::map<uint32_t, const Process*>& processes) {
  if (processes.empty()) return {};
  std::vector<Parameter> pids, starts, executables, services, versions, hashes, bodies;
  for (const auto& [pid, reported] : processes) {
    Process process = *reported;
    process.set_agent_id(std::string(agent_id));
    process.set_hostname(std::string(hostname));
    pids.emplace_back(pid);
    starts.emplace_back(
        process.has_start_time() ? Parameter(process.start_time()) : Parameter(nullptr));
    executables.emplace_back(process.executable());
    services.emplace_back(process.service());
    versions.emplace_back(process.go_version());
    hashes.emplace_back(process.binary_hash());
    bodies.emplace_back(Bytes{process.SerializeAsString()});
  }
  TRY(tx.exec(
      "insert into processes (agent_id, hostname, pid, start_time, executable, service, go_version,"
      "  binary_hash, process) "
      "select $1, $2, * from unnest($3::bigint[], $4::timestamptz[], $5::text[], $6::text[],"
      "  $7::text[], $8::text[], $9::bytea[]) "
      "on conflict (agent_id, pid) do update set hostname = excluded.hostname,"
      "  start_time = excluded.start_time, executable = excluded.executable,"
      "  service = excluded.service, go_version = excluded.go_version,"
      "  binary_hash = excluded.binary_hash, process = excluded.process, update_time = now()",
      agent_id, hostname, pids, starts, executables, services, versions, hashes, bodies));
  return {};
}

// A pattern without wildcards is compared by PostgreSQL.
bool is_literal(const std::string& pattern) {
  return !pattern.empty() && pattern.find_first_of("*?[") == std::string::npos;
}

} // namespace

Result<> write_processes(
    Transaction& tx, std::string_view agent_id, std::string_view hostname,
    const sonde::v1::ProcessReport& report) {
  std::map<uint32_t, const Process*> started; // the last of each pid
  for (const Process& process : report.started()) started[process.pid()] = &process;
  if (report.full()) {
    std::vector<Parameter> pids;
    for (const auto& [pid, process] : started) pids.emplace_back(pid);
    TRY(tx.exec(
        "delete from processes where agent_id = $1 and pid <> all($2::bigint[])", agent_id, pids));
  } else if (report.ended_pids_size() > 0) {
    std::vector<Parameter> pids(report.ended_pids().begin(), report.ended_pids().end());
    TRY(tx.exec(
        "delete from processes where agent_id = $1 and pid = any($2::bigint[])", agent_id, pids));
  }
  return upsert(tx, agent_id, hostname, started);
}

Result<> forget_processes(Transaction& tx, std::string_view agent_id) {
  TRY(tx.exec("delete from processes where agent_id = $1", agent_id));
  return {};
}

Result<sonde::v1::ListProcessesResponse>
list_processes(Transaction& tx, const sonde::v1::ListProcessesRequest& request) {
  static const FilterColumn kColumns[] = {
      {{"service"}, "service"},
      {{"executable"}, "executable"},
      {{"go_version"}, "go_version"},
      {{"binary_hash"}, "binary_hash"},
      {{"hostname"}, "hostname"}};
  const std::string query = request.agent_id() + "\n" + request.filter();
  const int size = TRY(model::page_size(request.page_size()));
  auto key = TRY(model::decode_page_token(request.page_token(), query, 2));
  sonde::v1::ListProcessesResponse response;
  std::vector<Parameter> parameters;
  std::string sql = "select agent_id, pid, process from processes where true" +
                    TRY(filter_conditions(request.filter(), kColumns, parameters));
  if (!request.agent_id().empty()) {
    if (!is_uuid(request.agent_id())) return response;
    sql += fmt::format(" and agent_id = {}", add_parameter(parameters, request.agent_id()));
  }
  if (!key.empty()) {
    std::string agent = add_parameter(parameters, key[0]), pid = add_parameter(parameters, key[1]);
    sql += fmt::format(" and (agent_id, pid) > ({}::uuid, {}::bigint)", agent, pid);
  }
  sql += " order by agent_id, pid limit " + add_parameter(parameters, size + 1);
  auto rows = TRY(tx.run(sql, parameters));
  for (int i = 0; i < std::min(rows.size(), size); ++i)
    response.add_processes()->ParseFromString(rows[i].bytes("process"));
  if (rows.size() > size)
    response.set_next_page_token(model::encode_page_token(
        {rows[size - 1].text("agent_id"), rows[size - 1].text("pid")}, query));
  return response;
}

Result<std::vector<ProcessMatch>> count_processes(
    Transaction& tx, const sonde::v1::Selector& selector,
    const std::vector<std::string>& agent_ids) {
  std::map<std::string, int> counts;
  for (Row row : TRY(tx.exec(
           "select agent_id, pid, service, executable from processes "
           "where agent_id::text = any($1::text[]) and ($2 = '' or service = $2) "
           "and ($3 = '' or executable = $3)",
           agent_ids, is_literal(selector.service()) ? selector.service() : "",
           is_literal(selector.executable()) ? selector.executable() : ""))) {
    Process process;
    process.set_pid(static_cast<uint32_t>(row.integer("pid")));
    process.set_service(row.text("service"));
    process.set_executable(row.text("executable"));
    if (model::selects_process(selector, process)) ++counts[row.text("agent_id")];
  }
  std::vector<ProcessMatch> matches;
  for (const auto& [agent_id, processes] : counts) matches.push_back({agent_id, processes});
  return matches;
}

} // namespace controlplane::store
