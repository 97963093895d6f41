// The certificate authority: it signs the certificates of agents and of sonded itself. Its key is a
// file and never a row.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "base/x509.h"

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::identity {

// What a TLS listener presents: leaf and authority, PEM, and the key of the leaf. Lives in memory
// only.
struct ServerCertificate {
  std::string chain_pem;
  std::string key_pem;
};

struct IssuedCertificate {
  std::string chain_pem;
  std::string serial; // hexadecimal
  base::Nanoseconds not_before{};
  base::Nanoseconds not_after{};
};

// Whom a verified certificate names.
struct AgentCertificate {
  std::string agent_id;
  std::string serial;
  base::Nanoseconds not_after{}; // wall time
};

// Immutable after open(); thread-safe.
class Authority {
 public:
  struct Options {
    // Holds authority.key and authority.crt, mode 0600; both are created at the first start.
    // Replicas share them.
    std::filesystem::path directory;
    std::string trust_domain = "sonde.local";
    std::chrono::seconds agent_certificate_lifetime = std::chrono::hours(24);
  };
  // What `may_create` finds missing it creates, once, also when two start at a time.
  // AUTHORITY_MISSING when it may not; INVALID_AUTHORITY when the files do not fit each other.
  static base::Result<Authority> open(Options options, const base::Clock& clock, bool may_create);
  static bool exists(const std::filesystem::path& directory);

  const base::Certificate& certificate() const { return certificate_; }
  std::string certificate_pem() const { return certificate_.to_pem(); }
  std::string sha256() const { return certificate_.sha256(); } // 32 raw bytes, as in join tokens
  const Options& options() const { return options_; }

  // A certificate for sonded: a key of its own, names for hosts and addresses.
  // Agents find kControlPlaneName in it too.
  base::Result<ServerCertificate> issue_server(std::vector<std::string> names) const;
  // A short certificate with spiffe://<trust-domain>/agent/<agent_id> for a key that proved itself.
  base::Result<IssuedCertificate>
  issue_agent(std::string_view agent_id, const base::RequestedKey& key) const;
  // Whom a client certificate names, after its signature, time, use and name were checked:
  // CERTIFICATE_EXPIRED, CERTIFICATE_NOT_YET_VALID, CERTIFICATE_UNTRUSTED (UNAUTHENTICATED).
  base::Result<AgentCertificate> verify_agent(std::string_view certificate_pem) const;

 private:
  Authority(
      Options options, const base::Clock& clock, base::PrivateKey key,
      base::Certificate certificate)
      : options_(std::move(options)), clock_(&clock), key_(std::move(key)),
        certificate_(std::move(certificate)) {}

  Options options_;
  const base::Clock* clock_;
  base::PrivateKey key_;
  base::Certificate certificate_;
};

} // namespace controlplane::identity
