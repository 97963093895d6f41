#include "agent/identity/identity.h"

#include "agent/identity/channel.h"
#include "agent/identity/first_contact.h"
#include "agent/identity/limits.h"
#include "agent/identity/state_files.h"
#include "base/hex.h"
#include "base/join_token.h"
#include "base/log.h"
#include "base/x509.h"
#include "sonde/v1/enrollment_service.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <random>

namespace agent::identity {
namespace {

namespace fs = std::filesystem;
using base::Certificate;
using base::Error;
using base::PrivateKey;
using base::Result;
using std::chrono::milliseconds;

Error needs_token(std::string_view reason, std::string what) {
  return base::failed_precondition(
      reason, std::move(what) + ": create a join token with `sonde token create` and start the "
                                "agent with it (--join-token-file or SONDE_JOIN_TOKEN)");
}

// The id is what follows the last slash of spiffe://<trust-domain>/agent/<id>.
Result<Credential> make_credential(
    const PrivateKey& key, std::string certificate_chain_pem, std::string authorities_pem) {
  Certificate certificate = TRY(Certificate::from_pem(certificate_chain_pem));
  std::vector<std::string> uris = certificate.uris();
  if (uris.size() != 1 || !certificate.belongs_to(key))
    return base::failed_precondition(
        "INVALID_CERTIFICATE", "the agent's certificate does not fit its key");
  return Credential{
      .agent_id = uris.front().substr(uris.front().rfind('/') + 1),
      .key_pem = key.to_pem(),
      .certificate_chain_pem = std::move(certificate_chain_pem),
      .authorities_pem = std::move(authorities_pem),
      .not_before = certificate.not_before(),
      .not_after = certificate.not_after()};
}

void set_deadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
}

Result<sonde::v1::EnrollResponse> enroll_at(
    const std::string& address, const Options& options, const base::JoinToken& token,
    const PrivateKey& key, const base::Clock& clock) {
  std::string authority = TRY(fetch_authority(address, token.authority_sha256, clock));
  sonde::v1::EnrollRequest request;
  request.set_join_token(token.to_text());
  request.set_certificate_request(TRY(key.certificate_request()));
  request.set_hostname(options.hostname);
  auto stub =
      sonde::v1::EnrollmentService::NewStub(make_channel(address, {.authorities_pem = authority}));
  grpc::ClientContext context;
  set_deadline(context);
  sonde::v1::EnrollResponse response;
  grpc::Status status = stub->Enroll(&context, request, &response);
  if (!status.ok()) return to_error(status);
  // What the server calls its authority must be the one that the token named.
  Certificate named = TRY(Certificate::from_pem(response.authorities()));
  if (named.sha256() != token.authority_sha256)
    return Error{
        base::Code::kPermissionDenied,
        "AUTHORITY_MISMATCH",
        address + " answered with the certificate of another authority",
        {}};
  return response;
}

bool may_pass(const Error& error) {
  return error.code == base::Code::kUnavailable || error.code == base::Code::kDeadlineExceeded ||
         error.code == base::Code::kResourceExhausted;
}

milliseconds jitter(milliseconds below) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return milliseconds(std::uniform_int_distribution<int64_t>(0, below.count())(random));
}

} // namespace

Result<Credential> load(const fs::path& state_dir, const base::Clock& clock) {
  if (!has_file(certificate_file(state_dir)))
    return needs_token("NOT_ENROLLED", "this host has no identity yet");
  std::string key_pem = TRY(read_file(key_file(state_dir)));
  PrivateKey key = TRY(PrivateKey::from_pem(key_pem));
  std::string chain = TRY(read_file(certificate_file(state_dir)));
  std::string authorities = TRY(read_file(authorities_file(state_dir)));
  Credential credential = TRY(make_credential(key, std::move(chain), std::move(authorities)));
  if (credential.not_after <= clock.wall_time())
    return needs_token("CERTIFICATE_EXPIRED", "the certificate of this host has expired");
  return credential;
}

Result<Credential> enroll(const Options& options, const base::Clock& clock) {
  base::JoinToken token = TRY(base::JoinToken::parse(options.join_token));
  TRY(make_state_dir(options.state_dir));
  PrivateKey key = TRY(load_or_make_key(options.state_dir));
  Error last = base::invalid_argument("INVALID_ADDRESS", "no address of a control plane is given");
  for (const std::string& address : options.addresses) {
    auto response = enroll_at(address, options, token, key, clock);
    if (!response) {
      last = response.error();
      continue;
    }
    Credential credential =
        TRY(make_credential(key, response->certificate_chain(), response->authorities()));
    TRY(write_file(authorities_file(options.state_dir), credential.authorities_pem));
    TRY(write_file(used_token_file(options.state_dir), base::to_hex(token.secret_sha256())));
    TRY(write_file(certificate_file(options.state_dir), credential.certificate_chain_pem));
    return credential;
  }
  return last;
}

Result<std::string> read_join_token(const fs::path& file, std::string_view value) {
  if (file.empty()) return std::string(value);
  return read_file(file);
}

namespace {

// A token that was traded already stays in unit files and environments: it is not a wish to enroll
// again.
bool is_new_token(const Options& options) {
  if (options.join_token.empty()) return false;
  auto token = base::JoinToken::parse(options.join_token);
  auto used = read_file(used_token_file(options.state_dir));
  return !token || !used || *used != base::to_hex(token->secret_sha256());
}

// Tries until a control plane answers, whatever it answers.
Result<Credential> enroll_patiently(const Options& options, const base::Clock& clock) {
  base::Nanoseconds deadline = clock.boot_time() + options.enroll_timeout;
  milliseconds delay = kEnrollRetryFirst;
  while (true) {
    auto credential = enroll(options, clock);
    if (credential.ok() || !may_pass(credential.error())) return credential;
    if (clock.boot_time() >= deadline) return credential;
    base::log::warn("enrollment: {}; trying again", credential.error().message);
    std::this_thread::sleep_for(jitter(delay));
    delay = std::min(delay * 2, kEnrollRetryMax);
  }
}

Result<Credential> load_or_enroll(const Options& options, const base::Clock& clock) {
  if (is_new_token(options)) return enroll_patiently(options, clock);
  auto loaded = load(options.state_dir, clock);
  if (loaded.ok() || options.join_token.empty()) return loaded;
  return enroll_patiently(options, clock);
}

} // namespace

Result<std::unique_ptr<Identity>>
Identity::open(Options options, const base::Clock& clock, std::function<void()> renewed) {
  Credential first = TRY(load_or_enroll(options, clock));
  return std::unique_ptr<Identity>(
      new Identity(std::move(options), clock, std::move(renewed), std::move(first)));
}

Identity::Identity(
    Options options, const base::Clock& clock, std::function<void()> renewed, Credential first)
    : options_(std::move(options)), clock_(clock), renewed_(std::move(renewed)),
      credential_(std::make_shared<const Credential>(std::move(first))),
      thread_([this] { run(); }) {}

Identity::~Identity() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::shared_ptr<const Credential> Identity::credential() const {
  std::lock_guard lock(mutex_);
  return credential_;
}

void Identity::on_renewed(std::function<void()> renewed) {
  std::lock_guard lock(mutex_);
  renewed_ = std::move(renewed);
}

void Identity::renew_soon() {
  std::lock_guard lock(mutex_);
  renew_now_ = true;
  changed_.notify_all();
}

std::string Identity::renewal_error() const {
  std::lock_guard lock(mutex_);
  return renewal_error_;
}

// Of the wall clock, and looked at again every minute: it may jump, and a suspended host wakes
// late.
base::Nanoseconds Identity::until_renewal_locked() const {
  const Credential& now = *credential_;
  base::Nanoseconds half = now.not_before + (now.not_after - now.not_before) / 2;
  return std::max(half - clock_.wall_time(), retry_at_ - clock_.boot_time());
}

void Identity::run() {
  milliseconds delay = kRenewRetryFirst;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    base::Nanoseconds wait = until_renewal_locked();
    if (wait > base::Nanoseconds(0) && !renew_now_) {
      changed_.wait_for(lock, std::min<base::Nanoseconds>(wait, std::chrono::minutes(1)));
      continue;
    }
    renew_now_ = false;
    lock.unlock();
    auto result = renew();
    lock.lock();
    if (result.ok()) {
      delay = kRenewRetryFirst;
      retry_at_ = {};
      renewal_error_.clear();
      auto renewed = renewed_;
      lock.unlock();
      if (renewed) renewed();
      lock.lock();
      continue;
    }
    base::log::warn("the certificate is not renewed: {}", result.error().message);
    renewal_error_ = result.error().reason;
    retry_at_ = clock_.boot_time() + jitter(delay) + kRenewRetryFirst / 2;
    delay = std::min(delay * 2, kRenewRetryMax);
  }
}

Result<> Identity::renew() {
  std::shared_ptr<const Credential> current = credential();
  PrivateKey key = TRY(PrivateKey::from_pem(current->key_pem));
  sonde::v1::RenewRequest request;
  request.set_certificate_request(TRY(key.certificate_request()));
  Error last = base::invalid_argument("INVALID_ADDRESS", "no address of a control plane is given");
  for (const std::string& address : options_.addresses) {
    auto stub = sonde::v1::EnrollmentService::NewStub(make_channel(address, *current));
    grpc::ClientContext context;
    set_deadline(context);
    sonde::v1::RenewResponse response;
    grpc::Status status = stub->Renew(&context, request, &response);
    if (!status.ok()) {
      last = to_error(status);
      continue;
    }
    Credential renewed =
        TRY(make_credential(key, response.certificate_chain(), response.authorities()));
    TRY(write_file(authorities_file(options_.state_dir), renewed.authorities_pem));
    TRY(write_file(certificate_file(options_.state_dir), renewed.certificate_chain_pem));
    base::log::info("the certificate is renewed");
    std::lock_guard lock(mutex_);
    credential_ = std::make_shared<const Credential>(std::move(renewed));
    return {};
  }
  return last;
}

} // namespace agent::identity
