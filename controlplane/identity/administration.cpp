#include "controlplane/identity/administration.h"

#include "base/hex.h"
#include "base/join_token.h"
#include "controlplane/identity/limits.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/credentials.h"
#include "controlplane/store/join_tokens.h"

#include <algorithm>

namespace controlplane::identity {
namespace {

using base::Result;
using sonde::v1::Agent;
using sonde::v1::JoinToken;
using store::Standing;
using store::Transaction;

bool is_label_key(std::string_view key) {
  auto ordinary = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '/';
  };
  return !key.empty() && key.size() <= kLabelBytesMax &&
         std::all_of(key.begin(), key.end(), ordinary);
}

bool is_label_value(std::string_view value) {
  auto printable = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; };
  return value.size() <= kLabelBytesMax && std::all_of(value.begin(), value.end(), printable);
}

Result<> check_labels(const store::LabelMap& labels, std::string_view field) {
  if (labels.size() > kLabelsMax)
    return base::invalid_argument(
               "INVALID_LABEL", "at most " + std::to_string(kLabelsMax) + " labels")
        .at(field);
  for (const auto& [key, value] : labels)
    if (!is_label_key(key) || !is_label_value(value))
      return base::invalid_argument(
                 "INVALID_LABEL",
                 "a label is letters, digits and ._-/ = printable text, each of at most " +
                     std::to_string(kLabelBytesMax) + " bytes")
          .at(field);
  return {};
}

Result<std::chrono::seconds> read_ttl(const google::protobuf::Duration& ttl) {
  if (ttl.seconds() < 1 || ttl.seconds() > kJoinTokenTtlMax.count() || ttl.nanos() < 0)
    return base::invalid_argument(
               "INVALID_TTL",
               "ttl is between 1s and " + std::to_string(kJoinTokenTtlMax.count()) + "s")
        .at("joinToken.ttl");
  return std::chrono::seconds(ttl.seconds());
}

// Sets the standing of an agent that is still in.
Result<Agent> change_standing(const std::string& agent_id, Standing standing, store::Pool& pool) {
  return pool.transaction([&](Transaction& tx) -> Result<Agent> {
    Standing before = TRY(store::find_standing(tx, agent_id));
    bool out = standing == Standing::kEvicted || standing == Standing::kBanned;
    if (before == Standing::kBanned && standing != Standing::kBanned)
      return base::failed_precondition("AGENT_BANNED", "the agent is banned already");
    if (before == Standing::kEvicted && !out)
      return base::failed_precondition("AGENT_EVICTED", "the agent was evicted already");
    if (out) TRY(store::revoke_credentials(tx, agent_id));
    if (before != standing) TRY(store::set_standing(tx, agent_id, standing));
    return store::find_agent(tx, agent_id);
  });
}

} // namespace

Result<JoinToken> create_join_token(
    const model::Caller& caller, const sonde::v1::CreateJoinTokenRequest& request,
    const Authority& authority, store::Pool& pool) {
  const JoinToken& wanted = request.join_token();
  TRY(check_labels(wanted.labels(), "joinToken.labels"));
  base::JoinToken token = base::JoinToken::generate(authority.sha256());
  store::NewJoinToken row{
      .id = base::new_uuid(),
      .secret_sha256 = token.secret_sha256(),
      .labels = wanted.labels(),
      .created_by = caller.name,
      .request_id = request.request_id()};
  if (wanted.has_expire_time()) {
    base::Nanoseconds in =
        std::chrono::seconds(wanted.expire_time().seconds()) - base::SystemClock().wall_time();
    if (in <= base::Nanoseconds(0) || in > kJoinTokenTtlMax)
      return base::invalid_argument(
                 "INVALID_EXPIRE_TIME", "expireTime lies between now and " +
                                            std::to_string(kJoinTokenTtlMax.count()) + "s from now")
          .at("joinToken.expireTime");
    row.expire_time = wanted.expire_time();
  } else {
    row.ttl = wanted.has_ttl() ? TRY(read_ttl(wanted.ttl())) : kJoinTokenTtlDefault;
  }
  JoinToken created =
      TRY(pool.transaction([&](Transaction& tx) { return store::insert_join_token(tx, row); }));
  created.set_token(token.to_text());
  return created;
}

Result<sonde::v1::ListJoinTokensResponse>
list_join_tokens(const sonde::v1::ListJoinTokensRequest& request, store::Pool& pool) {
  return pool.transaction([&](Transaction& tx) { return store::list_join_tokens(tx, request); });
}

Result<> delete_join_token(const std::string& join_token_id, store::Pool& pool) {
  return pool.transaction(
      [&](Transaction& tx) { return store::delete_join_token(tx, join_token_id); });
}

Result<Agent> get_agent(const std::string& agent_id, store::Pool& pool) {
  return pool.transaction([&](Transaction& tx) { return store::find_agent(tx, agent_id); });
}

Result<sonde::v1::ListAgentsResponse>
list_agents(const sonde::v1::ListAgentsRequest& request, store::Pool& pool) {
  return pool.transaction([&](Transaction& tx) { return store::list_agents(tx, request); });
}

Result<Agent> update_agent(const sonde::v1::UpdateAgentRequest& request, store::Pool& pool) {
  for (const std::string& path : request.update_mask().paths())
    if (path != "assigned_labels" && path != "assignedLabels")
      return base::invalid_argument(
                 "INVALID_UPDATE_MASK",
                 "only assignedLabels of an agent can be changed, not " + path.substr(0, 64))
          .at("updateMask");
  const Agent& wanted = request.agent();
  TRY(check_labels(wanted.assigned_labels(), "agent.assignedLabels"));
  return pool.transaction([&](Transaction& tx) -> Result<Agent> {
    TRY(store::set_assigned_labels(tx, wanted.id(), wanted.assigned_labels(), wanted.etag()));
    return store::find_agent(tx, wanted.id());
  });
}

Result<Agent> drain_agent(const std::string& agent_id, store::Pool& pool) {
  return change_standing(agent_id, Standing::kDraining, pool);
}

Result<Agent> evict_agent(const std::string& agent_id, store::Pool& pool) {
  return change_standing(agent_id, Standing::kEvicted, pool);
}

Result<Agent> ban_agent(const std::string& agent_id, store::Pool& pool) {
  return change_standing(agent_id, Standing::kBanned, pool);
}

} // namespace controlplane::identity
