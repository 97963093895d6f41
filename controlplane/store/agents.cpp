#include "controlplane/store/agents.h"

#include "base/hex.h"
#include "controlplane/store/changes.h"
#include "controlplane/store/labels.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/uuid.h"

#include <array>

namespace controlplane::store {
namespace {

using base::Error;
using sonde::v1::Agent;

constexpr std::array<std::string_view, 4> kStandings = {
    "ADMITTED", "DRAINING", "EVICTED", "BANNED"};

std::string_view name_of(Standing standing) { return kStandings[static_cast<size_t>(standing)]; }

Standing standing_of(std::string_view name) {
  for (size_t i = 0; i < kStandings.size(); ++i)
    if (kStandings[i] == name) return static_cast<Standing>(i);
  return Standing::kBanned; // a word of a newer binary: the strictest of ours
}

Error unknown_agent(std::string_view agent_id) {
  return base::not_found(
      "AGENT_NOT_FOUND", "there is no agent " + std::string(agent_id.substr(0, 64)));
}

// An agent's state is computed: a replica that died took its streams with it.
constexpr std::string_view kAgents = R"sql(
  select a.*,
    case when a.standing in ('EVICTED', 'BANNED') then a.standing
         when r.id is null then 'OFFLINE'
         when a.standing = 'DRAINING' then 'DRAINING' else 'ONLINE' end as state,
    array(select key from jsonb_each_text(a.assigned_labels) order by key) as assigned_keys,
    array(select value from jsonb_each_text(a.assigned_labels) order by key) as assigned_values,
    array(select key from jsonb_each_text(a.reported_labels) order by key) as reported_keys,
    array(select value from jsonb_each_text(a.reported_labels) order by key) as reported_values,
    (select max(c.not_after) from agent_credentials c
      where c.agent_id = a.id and c.revoke_time is null) as certificate_expire_time,
    (select count(*) from processes p where p.agent_id = a.id) as processes
  from agents a left join replicas r
    on r.id = a.replica_id and r.last_seen_time > now() - interval '20 seconds'
)sql";
static_assert(kReplicaTimeout == std::chrono::seconds(20), "as in the text above");

Agent read_agent(const Row& row) {
  Agent agent;
  agent.set_id(row.text("id"));
  agent.set_hostname(row.text("hostname"));
  Agent::State state = Agent::STATE_UNSPECIFIED;
  Agent::State_Parse(row.text("state"), &state);
  agent.set_state(state);
  read_labels(row, "assigned_keys", "assigned_values", *agent.mutable_assigned_labels());
  read_labels(row, "reported_keys", "reported_values", *agent.mutable_reported_labels());
  agent.set_version(row.text("version"));
  agent.set_kernel(row.text("kernel"));
  agent.set_architecture(row.text("architecture"));
  agent.set_boot_id(row.text("boot_id"));
  for (std::string& name : row.texts("capabilities")) agent.add_capabilities(std::move(name));
  for (std::string& text : row.texts("limitations")) agent.add_limitations(std::move(text));
  *agent.mutable_create_time() = row.timestamp("create_time");
  if (!row.is_null("last_seen_time"))
    *agent.mutable_last_seen_time() = row.timestamp("last_seen_time");
  if (!row.is_null("certificate_expire_time"))
    *agent.mutable_certificate_expire_time() = row.timestamp("certificate_expire_time");
  if (std::string health = row.bytes("health"); !health.empty())
    agent.mutable_health()->ParseFromString(health);
  // Known at once, and not with the next heartbeat only.
  if (const auto processes = row.integer("processes"); processes > 0 || agent.has_health())
    agent.mutable_health()->set_processes(static_cast<uint32_t>(processes));
  agent.set_etag(std::to_string(row.integer("revision")));
  return agent;
}

template <class Strings> std::vector<std::string> to_vector(const Strings& strings) {
  return {strings.begin(), strings.end()};
}

} // namespace

Result<> insert_agent(
    Transaction& tx, std::string_view agent_id, std::string_view hostname, const LabelMap& labels) {
  LabelParameters parameters(labels);
  TRY(tx.exec(
      "insert into agents (id, hostname, assigned_labels) "
      "values ($1, $2, jsonb_object($3::text[], $4::text[]))",
      agent_id, hostname, parameters.keys, parameters.values));
  return record_change(tx, ChangeKind::kAgent, agent_id);
}

Result<Agent> find_agent(Transaction& tx, std::string_view agent_id) {
  if (!is_uuid(agent_id)) return unknown_agent(agent_id);
  Rows rows = TRY(tx.exec(std::string(kAgents) + " where a.id = $1", agent_id));
  if (rows.empty()) return unknown_agent(agent_id);
  return read_agent(rows.front());
}

Result<Standing> find_standing(Transaction& tx, std::string_view agent_id) {
  if (!is_uuid(agent_id)) return unknown_agent(agent_id);
  Rows rows = TRY(tx.exec("select standing from agents where id = $1", agent_id));
  if (rows.empty()) return unknown_agent(agent_id);
  return standing_of(rows.front().text("standing"));
}

Result<sonde::v1::ListAgentsResponse>
list_agents(Transaction& tx, const sonde::v1::ListAgentsRequest& request) {
  static constexpr std::string_view kStates[] = {
      "ONLINE", "OFFLINE", "DRAINING", "EVICTED", "BANNED"};
  static const FilterColumn kColumns[] = {
      {{"state", model::FilterType::kText, kStates}, "state"},
      {{"hostname"}, "hostname"},
      {{"version"}, "version"},
      {{"kernel"}, "kernel"}};
  std::vector<Parameter> parameters;
  std::string select = "select * from (" + std::string(kAgents) + ") as listed where true" +
                       TRY(filter_conditions(request.filter(), kColumns, parameters));
  const Page page = TRY(newest_first(
      tx, std::move(select), std::move(parameters),
      {.size = request.page_size(), .token = request.page_token(), .query = request.filter()}));
  sonde::v1::ListAgentsResponse response;
  for (const Row& row : page.rows) *response.add_agents() = read_agent(row);
  response.set_next_page_token(page.next_page_token);
  return response;
}

Result<std::map<std::string, int64_t>> count_agents(Transaction& tx) {
  std::map<std::string, int64_t> counts;
  for (Row row : TRY(tx.exec(
           "select state, count(*) as agents from (" + std::string(kAgents) +
           ") as listed group by state")))
    counts[row.text("state")] = row.integer("agents");
  return counts;
}

Result<> set_standing(Transaction& tx, std::string_view agent_id, Standing standing) {
  if (!is_uuid(agent_id)) return unknown_agent(agent_id);
  Rows rows = TRY(tx.exec(
      "update agents set standing = $2, revision = revision + 1, xid = pg_current_xact_id() "
      "where id = $1",
      agent_id, name_of(standing)));
  if (rows.affected() == 0) return unknown_agent(agent_id);
  // Nobody will say any more when they end.
  if (standing == Standing::kEvicted || standing == Standing::kBanned)
    TRY(forget_processes(tx, agent_id));
  return record_change(tx, ChangeKind::kAgent, agent_id);
}

Result<> set_assigned_labels(
    Transaction& tx, std::string_view agent_id, const LabelMap& labels, std::string_view etag) {
  if (!is_uuid(agent_id)) return unknown_agent(agent_id);
  Rows found = TRY(tx.exec("select revision from agents where id = $1 for update", agent_id));
  if (found.empty()) return unknown_agent(agent_id);
  if (!etag.empty() && etag != std::to_string(found.front().integer("revision")))
    return Error{
        base::Code::kAborted, "ETAG_MISMATCH",
        "the agent was changed meanwhile: read it again and repeat", "agent.etag"};
  LabelParameters parameters(labels);
  TRY(tx.exec(
      "update agents set assigned_labels = jsonb_object($2::text[], $3::text[]), "
      "revision = revision + 1, xid = pg_current_xact_id() where id = $1",
      agent_id, parameters.keys, parameters.values));
  return record_change(tx, ChangeKind::kAgent, agent_id);
}

Result<> write_connection(Transaction& tx, const AgentConnection& connection) {
  const sonde::v1::Hello& hello = connection.hello;
  LabelParameters labels(hello.reported_labels());
  // The row as it was decides whether the replicas have to look again: a storm of reconnects is no
  // change.
  Rows before = TRY(tx.exec(
      "select (hostname, reported_labels, capabilities) is distinct from "
      "  ($2::text, jsonb_object($3::text[], $4::text[]), $5::text[]) as changed "
      "from agents where id = $1 for update",
      connection.agent_id, hello.hostname(), labels.keys, labels.values,
      to_vector(hello.capabilities())));
  if (before.empty()) return unknown_agent(connection.agent_id);
  TRY(tx.exec(
      "update agents set hostname = $2, reported_labels = jsonb_object($3::text[], $4::text[]), "
      "  capabilities = $5, limitations = $6, version = $7, kernel = $8, architecture = $9, "
      "  boot_id = $10, replica_id = $11, connection_id = $12, last_seen_time = now() "
      "where id = $1",
      connection.agent_id, hello.hostname(), labels.keys, labels.values,
      to_vector(hello.capabilities()), to_vector(hello.limitations()), hello.version(),
      hello.kernel(), hello.architecture(), hello.boot_id(), connection.replica_id,
      connection.connection_id));
  if (!before.front().boolean("changed")) return {};
  return record_change(tx, ChangeKind::kAgent, connection.agent_id);
}

Result<std::vector<std::string>>
end_connections(Transaction& tx, const std::vector<std::string>& connection_ids) {
  Rows rows = TRY(tx.exec(
      "update agents set replica_id = null, connection_id = null, last_seen_time = now() "
      "where connection_id = any($1::uuid[]) returning id",
      connection_ids));
  std::vector<std::string> agents;
  for (Row row : rows) agents.push_back(row.text("id"));
  return agents;
}

Result<> write_liveness(Transaction& tx, const std::vector<AgentLiveness>& agents) {
  std::vector<std::string> connections;
  std::vector<int64_t> ages;
  std::vector<Parameter> healths;
  std::vector<std::string> serialized; // outlives the parameters that point into it
  serialized.reserve(agents.size());
  for (const AgentLiveness& agent : agents) {
    connections.push_back(agent.connection_id);
    ages.push_back(agent.age.count());
    if (!agent.health) {
      healths.emplace_back(nullptr);
      continue;
    }
    serialized.push_back(agent.health->SerializeAsString());
    healths.emplace_back(Bytes{serialized.back()});
  }
  TRY(tx.exec(
      "update agents a set last_seen_time = now() - n.age_ms * interval '1 millisecond', "
      "  health = coalesce(n.health, a.health) "
      "from unnest($1::uuid[], $2::bigint[], $3::bytea[]) as n(connection_id, age_ms, health) "
      "where a.connection_id = n.connection_id",
      connections, ages, healths));
  return {};
}

Result<> write_replica(Transaction& tx, std::string_view replica_id) {
  TRY(tx.exec(
      "insert into replicas (id) values ($1) "
      "on conflict (id) do update set last_seen_time = now()",
      replica_id));
  TRY(tx.exec("delete from replicas where last_seen_time < now() - interval '1 hour'"));
  return {};
}

Result<> remove_replica(Transaction& tx, std::string_view replica_id) {
  TRY(tx.exec("delete from replicas where id = $1", replica_id));
  return {};
}

Result<std::vector<model::AgentView>>
find_agent_views(Transaction& tx, const std::vector<std::string>& agent_ids) {
  std::string sql(kAgents);
  sql += agent_ids.empty()
             ? " where a.standing in ('ADMITTED', 'DRAINING') and cardinality($1::uuid[]) = 0"
             : " where a.id = any($1::uuid[])";
  Rows rows = TRY(tx.exec(sql, agent_ids));
  std::vector<model::AgentView> views;
  for (Row row : rows) {
    Agent agent = read_agent(row);
    model::Labels assigned(agent.assigned_labels().begin(), agent.assigned_labels().end());
    model::Labels reported(agent.reported_labels().begin(), agent.reported_labels().end());
    views.push_back(
        {.agent_id = agent.id(),
         .hostname = agent.hostname(),
         .architecture = agent.architecture(),
         .labels = model::merge_labels(assigned, reported, agent.hostname()),
         .capabilities = to_vector(agent.capabilities()),
         .online = agent.state() == Agent::ONLINE || agent.state() == Agent::DRAINING,
         .accepts_sessions = row.text("standing") == name_of(Standing::kAdmitted)});
  }
  return views;
}

} // namespace controlplane::store
