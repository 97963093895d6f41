// Who this host is: a key and a short certificate in the agent's state directory, got once with a
// join token and renewed at half life.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace agent::identity {

// What the agent presents and what it trusts, at one moment. Immutable.
struct Credential {
  std::string agent_id;
  std::string key_pem;
  std::string certificate_chain_pem;
  std::string authorities_pem;
  base::Nanoseconds not_before{}; // wall time
  base::Nanoseconds not_after{};  // wall time
};

struct Options {
  // Made with mode 0700 when missing; agent.key, agent.crt and authorities.crt in it have mode
  // 0600.
  std::filesystem::path state_dir;
  // host:port of control planes, in the order in which to try them.
  std::vector<std::string> addresses;
  // A join token (base/join_token.h), for the first start; empty when there is none.
  std::string join_token;
  std::string hostname;
  // How long open() keeps trying to enroll while no control plane answers; 0: every address once.
  std::chrono::seconds enroll_timeout{0};
};

// The credential in the state directory. NOT_ENROLLED when there is none; CERTIFICATE_EXPIRED when
// its time is over (both FAILED_PRECONDITION, and say that a new join token is needed);
// INVALID_KEY, INVALID_CERTIFICATE.
base::Result<Credential> load(const std::filesystem::path& state_dir, const base::Clock& clock);

// Trades the join token for a credential and writes it to the state directory; tries every address
// once. The key is written before it is used, so that a repeated call after a lost reply gets the
// same identity. Blocks.
//   AUTHORITY_MISMATCH    no address has a certificate of the authority that the token names;
//   nothing was sent CONTROL_PLANE_UNREACHABLE  (UNAVAILABLE) try again JOIN_TOKEN_USED,
//   JOIN_TOKEN_EXPIRED, JOIN_TOKEN_UNKNOWN, AGENT_BANNED, AGENT_EVICTED  as the control plane said
base::Result<Credential> enroll(const Options& options, const base::Clock& clock);

// Reads a join token from the file, or, when `file` is empty, returns `value` (from the
// environment).
base::Result<std::string>
read_join_token(const std::filesystem::path& file, std::string_view value);

// Holds the credential and renews it at half of its life, with retries, in a thread of its own.
// Thread-safe.
class Identity {
 public:
  // load(), or enroll() when there is nothing valid to load; a join token other than the one that
  // was traded last always enrolls anew. `renewed` is called from the renewal thread after each
  // renewal. Blocks.
  static base::Result<std::unique_ptr<Identity>>
  open(Options options, const base::Clock& clock, std::function<void()> renewed = {});
  ~Identity();
  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

  std::shared_ptr<const Credential> credential() const;
  // Replaces `renewed`.
  void on_renewed(std::function<void()> renewed);
  // Asks for a renewal now instead of at half life.
  void renew_soon();
  // The last renewal's failure, for the log and the tests; empty after a success.
  std::string renewal_error() const;

 private:
  Identity(
      Options options, const base::Clock& clock, std::function<void()> renewed, Credential first);
  void run();
  base::Result<> renew();
  base::Nanoseconds until_renewal_locked() const;

  const Options options_;
  const base::Clock& clock_;
  mutable std::mutex mutex_;
  std::function<void()> renewed_;
  std::condition_variable changed_;
  std::shared_ptr<const Credential> credential_;
  std::string renewal_error_;
  base::Nanoseconds retry_at_{}; // boot time; zero when the last renewal went well
  bool renew_now_ = false;
  bool stopping_ = false;
  std::jthread thread_; // last: it uses the rest
};

} // namespace agent::identity
