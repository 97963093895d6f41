#include "controlplane/app/control_plane.h"

#include "base/hex.h"
#include "base/log.h"
#include "controlplane/app/first_start.h"
#include "controlplane/app/health_watch.h"
#include "controlplane/app/metrics.h"
#include "controlplane/edge/agent_control.h"
#include "controlplane/edge/agent_results.h"
#include "controlplane/edge/api_methods.h"
#include "controlplane/edge/enrollment_methods.h"
#include "controlplane/edge/grpc_server.h"
#include "controlplane/edge/http_server.h"
#include "controlplane/edge/limits.h"
#include "controlplane/edge/rest_api.h"
#include "controlplane/export/exporter.h"
#include "controlplane/identity/enrollment.h"
#include "controlplane/ingest/ingest.h"
#include "controlplane/push/push.h"
#include "controlplane/service/audit.h"
#include "controlplane/store/change_feed.h"
#include "controlplane/store/migrations.h"
#include "controlplane/store/pool.h"
#include "controlplane/store/private_postgres.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/host_name.hpp>

#include <thread>

namespace controlplane::app {
namespace {

using base::Result;

// Beside one connection per worker: ingest, push, tail, export, audit and readiness.
constexpr size_t kFurtherConnections = 10;

bool is_loopback(const ListenAddress& listen) {
  boost::system::error_code error;
  return boost::asio::ip::make_address(listen.address, error).is_loopback();
}

// What clients may call us: ourselves, where we listen, and what the settings add.
std::vector<std::string> server_names(const Settings& settings) {
  std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
  boost::system::error_code error;
  if (auto host = boost::asio::ip::host_name(error); !error && host != "localhost")
    names.push_back(host);
  for (const auto* listen : {&settings.grpc, &settings.rest}) {
    auto address = boost::asio::ip::make_address(listen->address, error);
    bool known = std::find(names.begin(), names.end(), listen->address) != names.end();
    if (!error && !address.is_unspecified() && !known) names.push_back(listen->address);
  }
  names.insert(names.end(), settings.server_names.begin(), settings.server_names.end());
  return names;
}

Result<std::unique_ptr<store::PrivatePostgres>> start_postgres(const Settings& settings) {
  if (!settings.database_url.empty()) return std::unique_ptr<store::PrivatePostgres>();
  store::PrivatePostgresOptions options;
  options.state_dir = settings.state_dir;
  return store::PrivatePostgres::start(options);
}

Result<std::unique_ptr<store::Pool>> open_store(const std::string& database_url, size_t workers) {
  int applied = TRY(store::migrate(database_url));
  if (applied > 0) base::log::info("applied {} migrations", applied);
  store::PoolOptions options;
  options.database_url = database_url;
  options.connections_max = workers + kFurtherConnections;
  return store::Pool::make(options);
}

Result<std::unique_ptr<identity::ApiTokens>>
open_tokens(const Settings& settings, Secrets& secrets) {
  if (secrets.api_tokens) return std::move(secrets.api_tokens);
  auto path = TRY(make_api_tokens(settings.state_dir));
  return identity::ApiTokens::open(path);
}

Result<identity::Authority>
open_authority(const Settings& settings, store::Pool& pool, const base::Clock& clock) {
  identity::Authority::Options options;
  options.directory = settings.state_dir / "authority";
  options.trust_domain = settings.trust_domain;
  options.agent_certificate_lifetime = settings.agent_certificate_lifetime;
  auto authority = TRY(identity::open_authority(pool, options, clock));
  TRY(write_file(settings.state_dir / kAuthorityFile, authority.certificate_pem(), 0644));
  return authority;
}

Result<std::unique_ptr<exporter::Exporter>>
start_exporter(const Settings& settings, store::Pool& pool) {
  std::vector<exporter::Destination> destinations;
  destinations.reserve(settings.otlp_destinations.size());
  for (const auto& [name, text] : settings.otlp_destinations)
    destinations.push_back(TRY(exporter::parse_destination(name, text)));
  return exporter::Exporter::start(pool, std::move(destinations));
}

model::SessionPolicy policy_of(const Settings& settings) {
  model::SessionPolicy policy;
  for (const auto& [name, address] : settings.otlp_destinations)
    policy.otlp_destinations.insert(name);
  return policy;
}

store::Retention retention_of(const Settings& settings) {
  store::Retention retention;
  retention.span_days = settings.keep_results_days;
  retention.session_days = settings.keep_sessions_days;
  retention.audit_days = settings.keep_audit_days;
  return retention;
}

push::Options push_options(const Settings& settings) {
  push::Options options;
  options.lease_duration = settings.lease;
  options.lease_refresh_interval = settings.lease / 3;
  return options;
}

// "sessions/…" of whatever id the request or the answer of a call carries.
std::string resource_of(const edge::Decision& decision) {
  for (const auto* message : {decision.response, decision.request}) {
    if (!message) continue;
    for (const char* name :
         {"id", "agent_id", "session_id", "join_token_id", "sampling_rule_id", "offset_table_id"}) {
      const auto* field = message->GetDescriptor()->FindFieldByName(name);
      if (!field || field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING)
        continue;
      auto id = message->GetReflection()->GetString(*message, field);
      if (!id.empty()) return id;
    }
  }
  return "";
}

store::AuditEvent event_of(const edge::Decision& decision) {
  const auto& method = *decision.method.descriptor;
  store::AuditEvent event;
  event.actor = decision.caller.name;
  event.method = method.service()->name() + "/" + method.name();
  event.resource = resource_of(decision);
  event.allowed = !decision.error || (decision.error->code != base::Code::kPermissionDenied &&
                                      decision.error->code != base::Code::kUnauthenticated);
  event.code = decision.error ? decision.error->code : base::Code::kOk;
  event.reason = decision.error ? std::string(decision.error->reason) : "";
  event.peer = decision.caller.address;
  return event;
}

} // namespace

// In the order in which they need each other; destroyed the other way round.
class ControlPlane::Parts {
 public:
  Parts(
      const Settings& s, std::unique_ptr<store::PrivatePostgres> p, std::unique_ptr<store::Pool> o,
      identity::Authority a, std::unique_ptr<identity::ApiTokens> t,
      std::unique_ptr<exporter::Exporter> e)
      : settings(s), postgres(std::move(p)), pool(std::move(o)), authority(std::move(a)),
        api_tokens(std::move(t)), feed({.database_url = pool->options().database_url}, clock),
        push(*pool, feed, clock, push_options(settings)), exporter(std::move(e)),
        ingest(
            *pool,
            [this](const ingest::StoredBatch& batch) {
              tail.publish(
                  batch.session_id, batch.agent_id, batch.hostname, batch.kept, batch.traces);
              if (batch.exported) exporter->wake();
            },
            retention_of(settings)) {}

  Result<> serve(const Secrets& secrets);
  void stop();

  const Settings settings;
  const base::SystemClock clock;
  const std::unique_ptr<store::PrivatePostgres> postgres; // null with --database-url
  const std::unique_ptr<store::Pool> pool;
  const identity::Authority authority;
  const std::unique_ptr<identity::ApiTokens> api_tokens;
  service::AuditLog audit_log{*pool};
  identity::Enrollment enrollment{authority, *pool};
  service::Services services{*pool, clock, policy_of(settings)};
  stitch::Results results{*pool};
  stitch::Tail tail{*pool};
  store::ChangeFeed feed;
  push::Push push;
  const std::unique_ptr<exporter::Exporter> exporter;
  ingest::Ingest ingest;

  edge::CallMetrics call_metrics;
  edge::Authenticator authenticator{
      [this](std::string_view token) { return api_tokens->find(token); },
      edge::certificate_lookup(enrollment)};
  edge::Dispatch dispatch{
      authenticator,
      [this](const edge::Decision& decision) { audit_log.append(event_of(decision)); },
      call_metrics};
  edge::Readiness readiness;
  edge::MetricsPage metrics_page;
  edge::RestApi rest_api{dispatch, readiness};
  edge::MetricsApi metrics_api{metrics_page};
  std::unique_ptr<grpc::Service> agent_control;
  std::unique_ptr<grpc::Service> agent_results;
  std::unique_ptr<edge::HttpServer> rest;
  std::unique_ptr<edge::HttpServer> metrics;
  std::unique_ptr<edge::GrpcServer> grpc;
  // After the servers, so that it ends before them: what a call answers finds its connection.
  edge::Workers workers{settings.workers, edge::kCallsWaitingMax};
  std::optional<HealthWatch> health_watch;

 private:
  bool stopped_ = false;
  void add_readiness();
  void add_metrics();
  Result<std::optional<edge::TlsIdentity>>
  rest_identity(const Secrets& secrets, const edge::TlsIdentity& own) const;
};

void ControlPlane::Parts::add_readiness() {
  readiness.add("database", [this] { return pool->ping(); });
  readiness.add("change feed", [this]() -> Result<> {
    auto view = feed.view_time();
    if (view && clock.boot_time() - *view < push::kViewAgeMax) return {};
    return base::unavailable("STALE_VIEW", "the last look at the store is too old");
  });
}

void ControlPlane::Parts::add_metrics() {
  metrics_page.add([this](edge::MetricsWriter& writer) { call_metrics.write(writer); });
  metrics_page.add([this](edge::MetricsWriter& writer) { write_push(writer, push.stats()); });
  metrics_page.add([this](edge::MetricsWriter& writer) { write_ingest(writer, ingest.stats()); });
  metrics_page.add([this](edge::MetricsWriter& writer) {
    write_export(writer, exporter->stats(), exporter->dropped_spans());
  });
  metrics_page.add([this](edge::MetricsWriter& writer) { write_store(writer, pool->stats()); });
  metrics_page.add([this](edge::MetricsWriter& writer) {
    write_edge(
        writer, {workers.waiting(), workers.refused(), rest->stats().connections,
                 rest->stats().streams, tail.readers(), audit_log.dropped()});
  });
  metrics_page.add([this](edge::MetricsWriter& writer) { write_fleet(writer, *pool); });
  metrics_page.add(&write_process);
}

Result<std::optional<edge::TlsIdentity>>
ControlPlane::Parts::rest_identity(const Secrets& secrets, const edge::TlsIdentity& own) const {
  bool plaintext = settings.rest_tls == RestTls::kOff ||
                   (settings.rest_tls == RestTls::kAuto && is_loopback(settings.rest) &&
                    secrets.tls_certificate_pem.empty());
  if (plaintext) return std::optional<edge::TlsIdentity>();
  if (secrets.tls_certificate_pem.empty()) return std::optional(own);
  return std::optional(edge::TlsIdentity{secrets.tls_certificate_pem, secrets.tls_key_pem});
}

Result<> ControlPlane::Parts::serve(const Secrets& secrets) {
  edge::add_enrollment(enrollment, dispatch);
  TRY(edge::add_api_methods(dispatch, {services, authority, results, tail}));
  add_readiness();
  add_metrics();
  feed.subscribe([this](const store::ChangeFeed::Batch& batch) {
    for (const auto& change : batch.changes) {
      if (change.kind == store::ChangeKind::kSession) tail.session_changed(change.key);
    }
  });
  feed.start();
  push.start();

  auto issued = TRY(authority.issue_server(server_names(settings)));
  edge::TlsIdentity own{issued.chain_pem, issued.key_pem};
  agent_control = edge::make_agent_control_service(push, enrollment, workers);
  agent_results =
      edge::make_agent_results_service(ingest, push.live_streams(), enrollment, workers);
  edge::GrpcServerOptions grpc_options{
      settings.grpc.address,
      settings.grpc.port,
      own,
      authority.certificate_pem(),
      {agent_control.get(), agent_results.get()}};
  grpc = TRY(edge::GrpcServer::start(std::move(grpc_options), dispatch, workers));
  health_watch.emplace(readiness, [this](bool ready) { grpc->set_serving(ready); });
  auto rest_tls = TRY(rest_identity(secrets, own));
  rest = TRY(edge::HttpServer::start(
      {settings.rest.address, settings.rest.port, rest_tls}, rest_api, workers, call_metrics));
  metrics = TRY(edge::HttpServer::start(
      {settings.metrics.address, settings.metrics.port, std::nullopt}, metrics_api, workers,
      call_metrics));
  base::log::info(
      "listening: gRPC {}, REST {}, metrics {}/metrics", grpc->address(), rest->url(),
      metrics->url());
  return {};
}

void ControlPlane::Parts::stop() {
  if (std::exchange(stopped_, true)) return;
  readiness.drain();
  health_watch.reset();
  if (grpc) grpc->drain();
  push.stop();
  ingest.stop();
  exporter->stop();
  if (grpc) grpc->stop(settings.drain);
  auto deadline = std::chrono::steady_clock::now() + settings.drain;
  for (auto* server : {rest.get(), metrics.get()}) {
    if (!server) continue;
    server->drain();
    while (server->stats().connections > 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    server->stop();
  }
  feed.stop();
}

ControlPlane::ControlPlane(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

ControlPlane::~ControlPlane() { stop(); }

Result<std::unique_ptr<ControlPlane>>
ControlPlane::start(const Settings& settings, Secrets secrets) {
  auto postgres = TRY(start_postgres(settings));
  const auto& database_url = postgres ? postgres->database_url() : settings.database_url;
  auto pool = TRY(open_store(database_url, settings.workers));
  static const base::SystemClock clock;
  auto authority = TRY(open_authority(settings, *pool, clock));
  auto tokens = TRY(open_tokens(settings, secrets));
  auto exporter = TRY(start_exporter(settings, *pool));
  auto parts = std::make_unique<Parts>(
      settings, std::move(postgres), std::move(pool), std::move(authority), std::move(tokens),
      std::move(exporter));
  std::unique_ptr<ControlPlane> control_plane(new ControlPlane(std::move(parts)));
  TRY(control_plane->parts_->serve(secrets));
  return control_plane;
}

void ControlPlane::stop() { parts_->stop(); }

} // namespace controlplane::app
