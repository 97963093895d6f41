// The certificates that agents were given, and the authority that signs them.
#pragma once

#include "controlplane/store/agents.h"
#include "controlplane/store/transaction.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

struct Credential {
  std::string serial; // hexadecimal
  std::string agent_id;
  std::string public_key_sha256; // raw bytes
  google::protobuf::Timestamp not_after;
};
// Forgets the agent's expired ones on the way.
Result<> insert_credential(Transaction& tx, const Credential& credential);

struct CredentialStanding {
  std::string agent_id;
  Standing agent = Standing::kAdmitted;
  bool revoked = false;
};
// Empty for a serial that is not tracked.
Result<std::optional<CredentialStanding>> find_credential(Transaction& tx, std::string_view serial);
Result<> revoke_credentials(Transaction& tx, std::string_view agent_id);

struct KeyHolder {
  std::string agent_id;
  Standing standing = Standing::kAdmitted;
};
// Every agent that ever proved to hold this key.
Result<std::vector<KeyHolder>>
find_key_holders(Transaction& tx, std::string_view public_key_sha256);

// Keeps the first authority that is registered; answers the SHA-256 of the one that is kept.
Result<std::string>
register_authority(Transaction& tx, std::string_view sha256, std::string_view certificate_pem);
// Empty before the first start.
Result<std::optional<std::string>> find_authority(Transaction& tx);

} // namespace controlplane::store
