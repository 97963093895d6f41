#include "controlplane/store/credentials.h"

namespace controlplane::store {
namespace {

// The registration of an authority is rare, and two of them must not both be first.
constexpr int64_t kAuthorityLock = 0x736f6e6465'01; // "sonde", 1

Standing standing_of(const Row& row) {
  std::string name = row.text("standing");
  if (name == "ADMITTED") return Standing::kAdmitted;
  if (name == "DRAINING") return Standing::kDraining;
  if (name == "EVICTED") return Standing::kEvicted;
  return Standing::kBanned;
}

} // namespace

Result<> insert_credential(Transaction& tx, const Credential& credential) {
  TRY(tx.exec(
      "insert into agent_credentials (serial, agent_id, public_key_sha256, not_after) "
      "values ($1, $2, $3, $4)",
      credential.serial, credential.agent_id, Bytes{credential.public_key_sha256},
      credential.not_after));
  TRY(tx.exec(
      "insert into agent_keys (public_key_sha256, agent_id) values ($1, $2) on conflict do nothing",
      Bytes{credential.public_key_sha256}, credential.agent_id));
  TRY(tx.exec(
      "delete from agent_credentials where agent_id = $1 and not_after < now()",
      credential.agent_id));
  return {};
}

Result<std::optional<CredentialStanding>>
find_credential(Transaction& tx, std::string_view serial) {
  Rows rows = TRY(tx.exec(
      "select c.agent_id, a.standing, c.revoke_time is not null as revoked "
      "from agent_credentials c join agents a on a.id = c.agent_id where c.serial = $1",
      serial));
  if (rows.empty()) return std::optional<CredentialStanding>();
  Row row = rows.front();
  return std::optional(
      CredentialStanding{row.text("agent_id"), standing_of(row), row.boolean("revoked")});
}

Result<> revoke_credentials(Transaction& tx, std::string_view agent_id) {
  TRY(tx.exec(
      "update agent_credentials set revoke_time = now() where agent_id = $1 and revoke_time is "
      "null",
      agent_id));
  return {};
}

Result<std::vector<KeyHolder>>
find_key_holders(Transaction& tx, std::string_view public_key_sha256) {
  Rows rows = TRY(tx.exec(
      "select a.id, a.standing from agent_keys k join agents a on a.id = k.agent_id "
      "where k.public_key_sha256 = $1 for update of a",
      Bytes{public_key_sha256}));
  std::vector<KeyHolder> holders;
  for (Row row : rows) holders.push_back({row.text("id"), standing_of(row)});
  return holders;
}

Result<std::string>
register_authority(Transaction& tx, std::string_view sha256, std::string_view certificate_pem) {
  TRY(tx.exec("select pg_advisory_xact_lock($1)", kAuthorityLock));
  if (auto kept = TRY(find_authority(tx))) return *std::move(kept);
  TRY(tx.exec(
      "insert into authorities (sha256, certificate) values ($1, $2)", Bytes{sha256},
      certificate_pem));
  return std::string(sha256);
}

Result<std::optional<std::string>> find_authority(Transaction& tx) {
  Rows rows = TRY(tx.exec("select sha256 from authorities"));
  if (rows.empty()) return std::optional<std::string>();
  return std::optional(rows.front().bytes("sha256"));
}

} // namespace controlplane::store
