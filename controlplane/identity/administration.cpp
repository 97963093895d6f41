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

using base::Error;
using base::Result;
using sonde::v1::Agent;
using sonde::v1::JoinToken;
using store::Standing;
using store::Transaction;
using Condition = store::AgentFilter::Condition;

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

Result<int> read_page_size(int page_size) {
  if (page_size < 0)
    return base::invalid_argument("INVALID_PAGE_SIZE", "pageSize is not negative").at("pageSize");
  return page_size == 0 ? kPageSizeDefault : std::min(page_size, kPageSizeMax);
}

Error invalid_filter(std::string why) {
  return base::invalid_argument(
             "INVALID_FILTER", std::move(why) + "; write e.g. state = \"ONLINE\" AND hostname != "
                                                "\"web-1\"")
      .at("filter");
}

// The words of a filter: names, quoted text, = and !=.
Result<std::vector<std::string>> split_filter(std::string_view filter) {
  std::vector<std::string> words;
  for (size_t i = 0; i < filter.size();) {
    char c = filter[i];
    if (c == ' ') {
      ++i;
    } else if (c == '=' || (c == '!' && filter.substr(i, 2) == "!=")) {
      words.emplace_back(c == '=' ? "=" : "!=");
      i += words.back().size();
    } else if (c == '"') {
      size_t end = filter.find('"', i + 1);
      if (end == std::string_view::npos) return invalid_filter("a quote is not closed");
      words.push_back(std::string(filter.substr(i, end - i))); // keeps the opening quote as a mark
      i = end + 1;
    } else {
      size_t end = std::min(filter.find_first_of(" =!\"", i), filter.size());
      if (end == i) return invalid_filter(std::string("\"") + c + "\" is not expected");
      words.push_back(std::string(filter.substr(i, end - i)));
      i = end;
    }
  }
  return words;
}

Result<Condition>
read_condition(const std::string& name, const std::string& op, std::string value) {
  Condition condition;
  if (name == "state")
    condition.field = Condition::Field::kState;
  else if (name == "hostname")
    condition.field = Condition::Field::kHostname;
  else if (name == "version")
    condition.field = Condition::Field::kVersion;
  else if (name == "kernel")
    condition.field = Condition::Field::kKernel;
  else
    return invalid_filter("\"" + name + "\" is none of state, hostname, version, kernel");
  if (op != "=" && op != "!=") return invalid_filter("after " + name + " comes = or !=");
  condition.equal = op == "=";
  condition.value = value.starts_with('"') ? value.substr(1) : std::move(value);
  Agent::State state;
  if (name == "state" && !Agent::State_Parse(condition.value, &state))
    return invalid_filter("\"" + condition.value + "\" is no state of an agent");
  return condition;
}

Result<store::AgentFilter> read_filter(std::string_view text) {
  std::vector<std::string> words = TRY(split_filter(text));
  store::AgentFilter filter;
  for (size_t i = 0; i < words.size(); i += 4) {
    if (i + 3 > words.size()) return invalid_filter("a condition is not complete");
    filter.conditions.push_back(TRY(read_condition(words[i], words[i + 1], words[i + 2])));
    if (i + 3 < words.size() && (words[i + 3] != "AND" || i + 4 == words.size()))
      return invalid_filter("conditions are joined by AND");
  }
  return filter;
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
  int page_size = TRY(read_page_size(request.page_size()));
  store::JoinTokenPage page = TRY(pool.transaction([&](Transaction& tx) {
    return store::list_join_tokens(tx, page_size, request.page_token());
  }));
  sonde::v1::ListJoinTokensResponse response;
  for (JoinToken& token : page.join_tokens) *response.add_join_tokens() = std::move(token);
  response.set_next_page_token(std::move(page.next_page_token));
  return response;
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
  int page_size = TRY(read_page_size(request.page_size()));
  store::AgentFilter filter = TRY(read_filter(request.filter()));
  store::AgentPage page = TRY(pool.transaction([&](Transaction& tx) {
    return store::list_agents(tx, filter, page_size, request.page_token());
  }));
  sonde::v1::ListAgentsResponse response;
  for (Agent& agent : page.agents) *response.add_agents() = std::move(agent);
  response.set_next_page_token(std::move(page.next_page_token));
  return response;
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
