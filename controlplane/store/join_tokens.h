// Join tokens: stored by the hash of their secret, used once.
#pragma once

#include "controlplane/store/transaction.h"
#include "sonde/v1/join_token_service.pb.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

struct NewJoinToken {
  std::string id;
  std::string secret_sha256; // raw bytes
  google::protobuf::Map<std::string, std::string> labels;
  // One of the two.
  std::optional<std::chrono::seconds> ttl;
  std::optional<google::protobuf::Timestamp> expire_time;
  std::string created_by;
  std::string request_id; // may be empty
};
// REQUEST_ID_USED (ALREADY_EXISTS) when the caller used this request id before; EXPIRE_TIME_PAST.
Result<sonde::v1::JoinToken> insert_join_token(Transaction& tx, const NewJoinToken& token);

// Newest first. INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<sonde::v1::ListJoinTokensResponse>
list_join_tokens(Transaction& tx, const sonde::v1::ListJoinTokensRequest& request);
// JOIN_TOKEN_NOT_FOUND.
Result<> delete_join_token(Transaction& tx, std::string_view id);

struct StoredJoinToken {
  std::string id;
  google::protobuf::Map<std::string, std::string> labels;
  bool expired = false;
  bool used = false;
  std::string agent_id;          // of a used one; empty when that agent is gone
  std::string public_key_sha256; // of a used one, raw bytes
};
// Locks the row until the end of the transaction. Empty when there is none.
Result<std::optional<StoredJoinToken>>
lock_join_token(Transaction& tx, std::string_view secret_sha256);
Result<> use_join_token(
    Transaction& tx, std::string_view id, std::string_view agent_id,
    std::string_view public_key_sha256);

} // namespace controlplane::store
