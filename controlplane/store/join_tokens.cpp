#include "controlplane/store/join_tokens.h"

#include "controlplane/store/labels.h"
#include "controlplane/store/lists.h"
#include "controlplane/store/uuid.h"

namespace controlplane::store {
namespace {

using base::Error;
using sonde::v1::JoinToken;

constexpr std::string_view kJoinTokens = R"sql(
  select id, agent_id, create_time, expire_time, created_by, public_key_sha256,
    use_time is not null as used, expire_time <= now() as expired,
    array(select key from jsonb_each_text(labels) order by key) as label_keys,
    array(select value from jsonb_each_text(labels) order by key) as label_values
  from join_tokens
)sql";

JoinToken read_join_token(const Row& row) {
  JoinToken token;
  token.set_id(row.text("id"));
  read_labels(row, "label_keys", "label_values", *token.mutable_labels());
  *token.mutable_expire_time() = row.timestamp("expire_time");
  token.set_state(
      row.boolean("used")      ? JoinToken::USED
      : row.boolean("expired") ? JoinToken::EXPIRED
                               : JoinToken::UNUSED);
  token.set_agent_id(row.text("agent_id"));
  *token.mutable_create_time() = row.timestamp("create_time");
  token.set_created_by(row.text("created_by"));
  return token;
}

Error unknown_token(std::string_view id) {
  return base::not_found(
      "JOIN_TOKEN_NOT_FOUND", "there is no join token " + std::string(id.substr(0, 64)));
}

} // namespace

Result<JoinToken> insert_join_token(Transaction& tx, const NewJoinToken& token) {
  LabelParameters labels(token.labels);
  std::optional<std::string> request_id;
  if (!token.request_id.empty()) request_id = token.request_id;
  // Those that cannot be used any more stay readable for a week.
  TRY(tx.exec("delete from join_tokens where expire_time < now() - interval '7 days'"));
  std::optional<int64_t> ttl_seconds;
  if (token.ttl) ttl_seconds = token.ttl->count();
  Rows inserted = TRY(tx.exec(
      "insert into join_tokens (id, secret_sha256, labels, expire_time, created_by, request_id) "
      "values ($1, $2, jsonb_object($3::text[], $4::text[]), "
      "  coalesce(now() + $5::bigint * interval '1 second', $6::timestamptz), $7, $8) "
      "on conflict (created_by, request_id) where request_id is not null do nothing",
      token.id, Bytes{token.secret_sha256}, labels.keys, labels.values, ttl_seconds,
      token.expire_time, token.created_by, request_id));
  if (inserted.affected() == 0)
    return Error{
        base::Code::kAlreadyExists, "REQUEST_ID_USED",
        "a join token was created with this requestId, and its secret is told only once: "
        "create another",
        "requestId"};
  Rows rows = TRY(tx.exec(std::string(kJoinTokens) + " where id = $1", token.id));
  if (rows.front().boolean("expired"))
    return base::invalid_argument("INVALID_EXPIRE_TIME", "expireTime is not in the future")
        .at("joinToken.expireTime");
  return read_join_token(rows.front());
}

Result<sonde::v1::ListJoinTokensResponse>
list_join_tokens(Transaction& tx, const sonde::v1::ListJoinTokensRequest& request) {
  const Page page = TRY(newest_first(
      tx, std::string(kJoinTokens) + " where true", {},
      {.size = request.page_size(), .token = request.page_token()}));
  sonde::v1::ListJoinTokensResponse response;
  for (const Row& row : page.rows) *response.add_join_tokens() = read_join_token(row);
  response.set_next_page_token(page.next_page_token);
  return response;
}

Result<> delete_join_token(Transaction& tx, std::string_view id) {
  if (!is_uuid(id)) return unknown_token(id);
  Rows rows = TRY(tx.exec("delete from join_tokens where id = $1", id));
  if (rows.affected() == 0) return unknown_token(id);
  return {};
}

Result<std::optional<StoredJoinToken>>
lock_join_token(Transaction& tx, std::string_view secret_sha256) {
  Rows rows = TRY(tx.exec(
      std::string(kJoinTokens) + " where secret_sha256 = $1 for update", Bytes{secret_sha256}));
  if (rows.empty()) return std::optional<StoredJoinToken>();
  Row row = rows.front();
  StoredJoinToken token{
      .id = row.text("id"),
      .expired = row.boolean("expired"),
      .used = row.boolean("used"),
      .agent_id = row.text("agent_id"),
      .public_key_sha256 = row.bytes("public_key_sha256")};
  read_labels(row, "label_keys", "label_values", token.labels);
  return std::optional(std::move(token));
}

Result<> use_join_token(
    Transaction& tx, std::string_view id, std::string_view agent_id,
    std::string_view public_key_sha256) {
  TRY(tx.exec(
      "update join_tokens set use_time = now(), agent_id = $2, public_key_sha256 = $3 where id = "
      "$1",
      id, agent_id, Bytes{public_key_sha256}));
  return {};
}

} // namespace controlplane::store
