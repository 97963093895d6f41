#include "agent/app/agent.h"

#include "agent/app/host.h"
#include "agent/app/limits.h"
#include "agent/plan/facts.h"
#include "agent/process/live_check.h"
#include "base/log.h"

#include <pthread.h>

namespace agent::app {
namespace {

constexpr uint64_t kNanosecondsPerTick = 10'000'000;

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string version_of_main_module(const process::BinaryInfo& binary) {
  for (const auto& module : binary.modules)
    if (module.path == binary.main_module && module.version != "(devel)") return module.version;
  return "";
}

telemetry::ProcessResource resource_of(const process::GoProcess& go) {
  telemetry::ProcessResource resource;
  const auto& process = go.process;
  resource.pid = process.key.pid;
  resource.service_name = process.service;
  resource.executable_name = file_name(process.executable);
  resource.executable_path = process.executable;
  if (!process.argv.empty()) resource.command = process.argv.front();
  resource.container_id = process.container_id;
  resource.start_boot_ns = process.key.start_ticks * kNanosecondsPerTick;
  if (!go.binary) return resource;
  resource.service_version = version_of_main_module(*go.binary);
  resource.go_version = go.binary->go_version_text;
  return resource;
}

void add_losses(sonde::v1::AgentHealth& health, const std::map<std::string, uint64_t>& losses) {
  for (const auto& [reason, count] : losses) {
    auto& loss = *health.add_losses();
    loss.set_reason(reason);
    loss.set_count(count);
  }
}

} // namespace

base::Result<std::unique_ptr<Agent>> Agent::start(
    Config config, std::unique_ptr<identity::Identity> identity, plan::LocalPolicy policy) {
  std::unique_ptr<Agent> agent(
      new Agent(std::move(config), std::move(identity), std::move(policy)));
  TRY(agent->start_inventory());
  agent->control_thread_ = std::jthread([raw = agent.get()] { raw->follow_link(); });
  agent->identity_->on_renewed([raw = agent.get()] { raw->link_->credential_changed(); });
  agent->link_->start();
  return agent;
}

Agent::Agent(Config config, std::unique_ptr<identity::Identity> identity, plan::LocalPolicy policy)
    : config_(std::move(config)), features_(probe::detect_kernel_features()),
      host_(describe_host(config_, features_)), identity_(std::move(identity)),
      exporter_(std::make_unique<exporter::Exporter>(config_.state_dir)),
      inventory_events_(kProbeCommandsMax), link_events_(kLinkEventsMax) {
  link_ = std::make_unique<link::Link>(
      link::Options{config_.servers}, *identity_, link_sources(), link_events_, clock_);
  event_thread_ = std::make_unique<EventThread>(
      telemetry::read_host_resource(), clock_,
      [this] {
        return probe_thread_ ? probe_thread_->use().losses : std::map<std::string, uint64_t>();
      },
      [this](telemetry::SessionBatch batch) { exporter_->submit(std::move(batch)); });
  probe_thread_ = std::make_unique<ProbeThread>(
      features_, event_thread_->ring_reader(), process::check_live, std::move(policy), clock_,
      ProbeOutputs{
          [this](sonde::v1::Ack ack) { acknowledge(std::move(ack)); },
          [this](const probe::Traced& traced) { retrace(traced); }});
  for (const auto& limitation : features_.limitations) base::log::warn("kernel: {}", limitation);
}

Agent::~Agent() {
  identity_->on_renewed({});
  inventory_.reset();
  inventory_events_.close();
  link_events_.close();
  for (auto* thread : {&process_thread_, &control_thread_})
    if (thread->joinable()) thread->join();
  probe_thread_.reset();
  event_thread_.reset();
  if (link_->stats().connected) exporter_->drain(kDrainTimeout);
  link_.reset();
}

base::Result<> Agent::start_inventory() {
  process::InventoryOptions options;
  options.request = plan::all_facts();
  options.cache_directory = config_.state_dir / "binaries";
  inventory_ = TRY(process::Inventory::start(std::move(options), inventory_events_));
  if (!inventory_->limitation().empty()) base::log::warn("processes: {}", inventory_->limitation());
  process_thread_ = std::jthread([this] { follow_processes(); });
  return {};
}

link::Sources Agent::link_sources() {
  return {
      [this] { return hello(); }, [this] { return describe_processes(); },
      [this](std::shared_ptr<grpc::Channel> channel) {
        exporter_->set_channel(std::move(channel));
      }};
}

void Agent::follow_link() {
  pthread_setname_np(pthread_self(), "control");
  while (auto event = link_events_.pop()) {
    if (auto* connected = std::get_if<link::Connected>(&event->what))
      handle(*connected);
    else if (auto* gone = std::get_if<link::Disconnected>(&event->what))
      handle(*gone);
    else if (auto* delta = std::get_if<sonde::v1::Delta>(&event->what))
      handle(*delta, event->received_at);
    else if (auto* refresh = std::get_if<sonde::v1::LeaseRefresh>(&event->what))
      handle(*refresh, event->received_at);
  }
}

void Agent::handle(const link::Connected& connected) {
  base::log::info("connected to {}", connected.address);
  heartbeat();
}

void Agent::handle(const link::Disconnected& disconnected) {
  if (!disconnected.dismissed())
    return base::log::warn(
        "control plane: {}; sessions go on until their leases end", disconnected.error.message);
  base::log::warn("control plane: {}; every session ends now", disconnected.error.message);
  {
    std::lock_guard lock(mutex_);
    assignments_ = {};
    table_checks_ = {};
  }
  probe_thread_->post(Apply{});
}

void Agent::handle(const sonde::v1::Delta& delta, base::Nanoseconds received_at) {
  sonde::v1::Ack ack;
  Apply apply;
  {
    std::lock_guard lock(mutex_);
    ack = assignments_.apply(delta, received_at);
    table_checks_.forget(delta);
    check_tables_locked(ack);
    apply.desired = assignments_.desired();
    apply.then = assignments_.removed_sessions();
  }
  probe_thread_->post(std::move(apply));
  if (ack.assignments_size() > 0 || delta.assignments_size() + delta.removed_size() == 0)
    link_->acknowledge(ack);
}

void Agent::handle(const sonde::v1::LeaseRefresh& refresh, base::Nanoseconds received_at) {
  RefreshLeases command;
  {
    std::lock_guard lock(mutex_);
    command.deadlines = assignments_.refresh(refresh.leases(), received_at);
  }
  if (!command.deadlines.empty()) probe_thread_->post(std::move(command));
}

void Agent::follow_processes() {
  pthread_setname_np(pthread_self(), "process");
  while (auto event = inventory_events_.pop()) {
    if (event->kind == process::InventoryEvent::Kind::kAppeared)
      process_appeared(std::move(event->process));
    else
      process_ended(event->process);
  }
}

void Agent::process_appeared(process::GoProcess process) {
  auto described = describe_process(process, host_.hostname());
  sonde::v1::Ack ack;
  {
    std::lock_guard lock(mutex_);
    processes_.insert_or_assign(process.process.key.pid, process);
    check_tables_locked(ack);
  }
  if (ack.assignments_size() > 0) link_->acknowledge(ack);
  probe_thread_->post(ProcessStarted{std::move(process)});
  link_->report_processes({std::move(described)}, {});
}

void Agent::check_tables_locked(sonde::v1::Ack& ack) {
  if (assignments_.desired().offset_tables.empty()) return;
  std::map<std::string, std::shared_ptr<const process::BinaryInfo>> by_hash;
  for (const auto& [pid, process] : processes_)
    if (process.binary) by_hash.emplace(process.binary->binary_hash, process.binary);
  std::vector<std::shared_ptr<const process::BinaryInfo>> binaries;
  for (auto& [hash, binary] : by_hash) binaries.push_back(std::move(binary));
  table_checks_.run(assignments_, binaries, ack);
}

void Agent::process_ended(const process::GoProcess& process) {
  const auto pid = process.process.key.pid;
  {
    std::lock_guard lock(mutex_);
    const auto known = processes_.find(pid);
    // It was replaced by exec already.
    if (known == processes_.end() || known->second.process.key != process.process.key) return;
    processes_.erase(known);
  }
  probe_thread_->post(ProcessEnded{pid});
  link_->report_processes({}, {pid});
}

// Spans and losses are counted behind the kernel, so they are added here.
void Agent::acknowledge(sonde::v1::Ack ack) const {
  const auto totals = event_thread_->totals();
  for (auto& line : *ack.mutable_assignments()) {
    const auto session = totals.sessions.find(line.key().name());
    if (session == totals.sessions.end()) continue;
    auto& usage = *line.mutable_status()->mutable_usage();
    usage.set_spans(session->second.spans);
    for (const auto& [reason, count] : session->second.losses) {
      auto& loss = *usage.add_losses();
      loss.set_reason(reason);
      loss.set_count(count);
    }
  }
  link_->acknowledge(ack);
}

void Agent::retrace(const probe::Traced& traced) {
  Retrace command{views_of(traced), {}};
  is_idle_ = traced.empty();
  std::lock_guard lock(mutex_);
  for (const auto& [pid, shares] : traced)
    if (auto process = processes_.find(pid); process != processes_.end())
      command.processes.emplace(pid, resource_of(process->second));
  event_thread_->retrace(std::move(command));
}

sonde::v1::Hello Agent::hello() const {
  auto hello = host_;
  if (inventory_ && !inventory_->limitation().empty())
    hello.add_limitations(inventory_->limitation());
  std::lock_guard lock(mutex_);
  for (auto& held : assignments_.held(clock_.boot_time())) *hello.add_held() = std::move(held);
  return hello;
}

std::vector<sonde::v1::Process> Agent::describe_processes() const {
  std::vector<sonde::v1::Process> described;
  std::lock_guard lock(mutex_);
  for (const auto& [pid, process] : processes_)
    described.push_back(describe_process(process, host_.hostname()));
  return described;
}

void Agent::heartbeat() {
  sonde::v1::AgentHealth health;
  measure_self(health);
  const auto kernel = probe_thread_->use();
  health.set_bpf_map_bytes(kernel.map_bytes);
  health.set_bpf_programs(kernel.programs);
  health.set_map_usage_ratio(kernel.map_usage_ratio);
  {
    std::lock_guard lock(mutex_);
    health.set_processes(static_cast<uint32_t>(processes_.size()));
  }
  const auto exported = exporter_->stats();
  health.set_spool_bytes(exported.spool_bytes);
  add_losses(health, kernel.losses);
  const auto totals = event_thread_->totals();
  health.set_events(totals.records);
  add_losses(health, totals.losses);
  add_losses(health, exported.lost);
  link_->heartbeat(health);
}

std::chrono::nanoseconds Agent::heartbeat_interval() const {
  std::lock_guard lock(mutex_);
  const auto& wanted = assignments_.settings().heartbeat_interval();
  const auto interval =
      std::chrono::seconds(wanted.seconds()) + std::chrono::nanoseconds(wanted.nanos());
  if (interval.count() == 0) return kHeartbeatDefault;
  return std::max<std::chrono::nanoseconds>(interval, kHeartbeatMin);
}

} // namespace agent::app
