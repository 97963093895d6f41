#include "agent/plan/plan.h"

#include "agent/plan/facts.h"
#include "agent/plan/frame.h"
#include "agent/plan/names.h"
#include "agent/plan/site.h"

#include <algorithm>
#include <optional>
#include <span>

namespace agent::plan {
namespace {

using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;

constexpr process::GoVersion kOldestGo{1, 17, 0};
constexpr process::GoVersion kFirstUnknownGo{1, 28, 0};
constexpr process::GoVersion kParentGoidSince{1, 21, 0};
constexpr uint64_t kNanosecondsPerTick =
    10'000'000; // USER_HZ is 100 on every architecture we run on

std::span<const uint8_t> code_of(const process::Function& function) {
  return {reinterpret_cast<const uint8_t*>(function.code.data()), function.code.size()};
}

base::Result<FunctionSite>
place(const Facts& facts, FunctionProgram program, const std::string& symbol) {
  const auto* function = TRY(facts.function(symbol));
  auto site = TRY(find_site(code_of(*function), function->size).context(symbol));
  return FunctionSite{
      program,
      symbol,
      function->file_offset,
      function->file_offset + site.offset_bytes,
      site.filter_by_flags ? uint64_t{SITE_FILTER_BY_FLAGS} : 0,
      std::move(site.prologue)};
}

base::Result<go_layout> goroutine_layout(const Facts& facts, process::GoVersion version) {
  go_layout layout{};
  layout.g_stack_lo = TRY(facts.offset(kGStackLo));
  layout.g_stack_hi = TRY(facts.offset(kGStackHi));
  layout.g_m = TRY(facts.offset(kGM));
  layout.g_goid = TRY(facts.offset(kGGoid));
  layout.m_curg = TRY(facts.offset(kMCurg));
  if (version >= kParentGoidSince) layout.g_parent_goid = TRY(facts.offset(kGParentGoid));
  return layout;
}

// The part that every HTTP probe needs.
struct ServerFacts {
  go_layout layout{};
  FunctionSite panic;
};

base::Result<ServerFacts> server_facts(const Facts& facts, process::GoVersion version) {
  ServerFacts server;
  server.layout = TRY(goroutine_layout(facts, version));
  server.panic = TRY(place(facts, FunctionProgram::kPanic, kGopanic));
  return server;
}

struct ClientFacts {
  go_http_client_layout layout{};
  FunctionSite round_trip;
  FunctionSite round_trip_error;
};

base::Result<ClientFacts> client_facts(const Facts& facts, uint64_t load_bias) {
  ClientFacts client;
  client.round_trip = TRY(place(facts, FunctionProgram::kRoundTrip, kRoundTrip));
  client.round_trip_error = TRY(place(facts, FunctionProgram::kRoundTripError, kMapRoundTripError));
  client.layout.persist_conn_conn = TRY(facts.offset(kPersistConnConn));
  client.layout.tcp_conn_fd = TRY(facts.offset(kTcpConnFd));
  client.layout.net_fd_sysfd = TRY(facts.offset(kNetFdSysfd));
  client.layout.tcp_conn_type = TRY(facts.type_address(kTcpConnType)) + load_bias;
  if (auto offset = facts.offset(kPersistConnCanceledErr))
    client.layout.persist_conn_canceled_err = *offset;
  return client;
}

// What tells of a call that gets no connection.
struct DialFacts {
  go_http_dial_layout layout{};
  FunctionSite dial;
  FunctionSite dial_error;
};

base::Result<go_http_dial_layout> dial_layout(const Facts& facts, uint64_t load_bias) {
  go_http_dial_layout layout{};
  layout.request_method = TRY(facts.offset(kRequestMethod));
  layout.request_url = TRY(facts.offset(kRequestUrl));
  layout.url_scheme = TRY(facts.offset(kUrlScheme));
  layout.url_opaque = TRY(facts.offset(kUrlOpaque));
  layout.url_host = TRY(facts.offset(kUrlHost));
  layout.url_path = TRY(facts.offset(kUrlPath));
  layout.url_raw_path = TRY(facts.offset(kUrlRawPath));
  layout.url_raw_query = TRY(facts.offset(kUrlRawQuery));
  layout.op_error_err = TRY(facts.offset(kOpErrorErr));
  layout.syscall_error_err = TRY(facts.offset(kSyscallErrorErr));
  layout.dns_error_err = TRY(facts.offset(kDnsErrorErr));
  layout.dns_error_is_timeout = TRY(facts.offset(kDnsErrorIsTimeout));
  layout.op_error_type = TRY(facts.type_address(kOpErrorType)) + load_bias;
  layout.syscall_error_type = TRY(facts.type_address(kSyscallErrorType)) + load_bias;
  layout.errno_type = TRY(facts.type_address(kErrnoType)) + load_bias;
  layout.dns_error_type = TRY(facts.type_address(kDnsErrorType)) + load_bias;
  return layout;
}

base::Result<DialFacts> dial_facts(const Facts& facts, uint64_t load_bias) {
  DialFacts dial;
  dial.dial = TRY(place(facts, FunctionProgram::kDial, kQueueForDial));
  dial.dial_error = TRY(place(facts, FunctionProgram::kDialError, kWantConnCancel));
  const auto* round_trip = TRY(facts.function(kTransportRoundTrip));
  TRY(keeps_first_arguments(code_of(*round_trip)).context(kTransportRoundTrip));
  dial.layout = TRY(dial_layout(facts, load_bias));
  return dial;
}

template <class Names>
void fill_types(std::span<__u64> row, const Facts& facts, uint64_t load_bias, const Names& names) {
  size_t used = 0;
  for (const auto* name : names)
    if (auto address = facts.type_address(name); address && used < row.size())
      row[used++] = *address + load_bias;
}

// Makes the plan of one process, probe by probe.
class Planner {
 public:
  Planner(
      const process::GoProcess& process, const DesiredState& desired, const LocalPolicy& policy,
      const BudgetVerdicts& budget)
      : process_(process), desired_(desired), policy_(policy), budget_(budget),
        subject_(subject_of(process.process)) {
    plan_.process = process.process.key;
    plan_.executable = process.process.executable;
    for (const auto& [id, rule] : desired.sampling_rules) rules_.push_back(rule);
  }

  ProbePlan make() && {
    for (const auto& [id, session] : desired_.sessions)
      if (matches(session.spec.selector(), subject_)) add(session);
    if (plan_.traces()) fill_config();
    return std::move(plan_);
  }

 private:
  void add(const DesiredSession& session) {
    const auto& spec = session.spec;
    SessionShare share{spec.session_id(), {}, false, false};
    for (int i = 0; i < spec.probes_size(); ++i) {
      ProbeOutcome outcome{spec.session_id(), static_cast<uint32_t>(i), {}, {}, {}};
      judge(spec, spec.probes(i), share, outcome);
      plan_.outcomes.push_back(std::move(outcome));
    }
    if (!share.server && !share.client) return;
    share.sampling = sampling_of(spec.sampling(), rules_, subject_, verdict(spec).share);
    plan_.config.deadline_ns = std::max(
        plan_.config.deadline_ns,
        static_cast<__u64>(std::max<int64_t>(0, session.deadline.count())));
    plan_.shares.push_back(std::move(share));
  }

  static void refuse(ProbeOutcome& outcome, Reason::Code reason, std::string detail) {
    outcome.state = AssignmentStatus::REJECTED;
    outcome.reason = reason;
    outcome.detail = std::move(detail);
  }

  void judge(
      const sonde::v1::SessionAssignment& spec, const sonde::v1::Probe& probe, SessionShare& share,
      ProbeOutcome& outcome) {
    if (auto why = forbids(policy_, subject_))
      return refuse(outcome, Reason::LOCAL_POLICY_DENIED, *why);
    if (auto why = forbidden_kind(probe)) return refuse(outcome, Reason::LOCAL_POLICY_DENIED, *why);
    if (!probe.has_http())
      return refuse(outcome, Reason::PROBE_UNSUPPORTED, "this agent has no probe of this kind yet");
    const auto budget = verdict(spec);
    if (budget.share <= 0) return refuse(outcome, budget.reason, budget.detail);
    if (auto error = unsupported_binary())
      return refuse(outcome, reason_code(error->reason), error->message);
    judge_http(probe.http(), share, outcome);
    if (budget.share < 1 && outcome.state != AssignmentStatus::REJECTED)
      partly(outcome, budget.reason, budget.detail);
  }

  BudgetVerdict verdict(const sonde::v1::SessionAssignment& spec) const {
    const auto found = budget_.find(spec.session_id());
    return found == budget_.end() ? BudgetVerdict{} : found->second;
  }

  std::optional<std::string> forbidden_kind(const sonde::v1::Probe& probe) const {
    const auto* oneof = probe.GetDescriptor()->FindOneofByName("kind");
    const auto* field = probe.GetReflection()->GetOneofFieldDescriptor(probe, oneof);
    if (field == nullptr || !policy_.forbidden_probes.contains(field->json_name()))
      return std::nullopt;
    return "the local policy forbids " + field->json_name() + " probes";
  }

  std::optional<base::Error> unsupported_binary() const {
    if (process_.refusal) return process_.refusal;
    if (!process_.binary) return base::failed_precondition("BINARY_UNSUPPORTED", "not analysed");
    const auto& binary = *process_.binary;
    if (binary.architecture != process::Architecture::kAmd64)
      return base::failed_precondition("BINARY_UNSUPPORTED", "only amd64 is supported");
    if (binary.go_version < kOldestGo || binary.go_version >= kFirstUnknownGo)
      return base::failed_precondition(
          "BINARY_UNSUPPORTED", binary.go_version_text + " is not supported: Go 1.17 to 1.27 are");
    return std::nullopt;
  }

  void judge_http(const sonde::v1::HttpProbe& probe, SessionShare& share, ProbeOutcome& outcome) {
    using sonde::v1::HttpProbe;
    const bool wants_server = probe.side() != HttpProbe::CLIENT;
    const bool wants_client = probe.side() != HttpProbe::SERVER;
    const Facts facts(*process_.binary, desired_);
    auto server = server_facts(facts, process_.binary->go_version);
    if (!server) return refuse(outcome, reason_code(server.error().reason), server.error().message);
    outcome.state = AssignmentStatus::ACTIVE;
    std::vector<FunctionSite> sites{server->panic};
    if (wants_client) {
      const bool client = judge_client(facts, wants_server, sites, outcome);
      if (!client && !wants_server) return;
      share.client = share.client || client;
    }
    plan_.config.go = server->layout;
    share.server = share.server || wants_server;
    for (auto& site : sites)
      if (std::find(plan_.sites.begin(), plan_.sites.end(), site) == plan_.sites.end())
        plan_.sites.push_back(std::move(site));
    if (probe.route()) partly(outcome, Reason::PROBE_UNSUPPORTED, "http.route is not captured");
  }

  static void partly(ProbeOutcome& outcome, Reason::Code reason, const std::string& detail) {
    outcome.state = AssignmentStatus::PARTIAL;
    if (outcome.reason == Reason::CODE_UNSPECIFIED) outcome.reason = reason;
    outcome.detail += (outcome.detail.empty() ? "" : "; ") + detail;
  }

  // True when client calls will be seen.
  bool judge_client(
      const Facts& facts, bool wants_server, std::vector<FunctionSite>& sites,
      ProbeOutcome& outcome) {
    auto client = client_facts(facts, process_.process.load_bias);
    if (client) {
      plan_.config.client = client->layout;
      sites.push_back(std::move(client->round_trip));
      sites.push_back(std::move(client->round_trip_error));
      judge_dial(facts, sites, outcome);
      return true;
    }
    const auto& error = client.error();
    if (!wants_server) {
      refuse(outcome, reason_code(error.reason), error.message);
    } else if (process_.binary->find_function(kRoundTrip) == nullptr) {
      outcome.detail = "the program has no net/http client";
    } else {
      partly(outcome, reason_code(error.reason), "no client calls: " + error.message);
    }
    return false;
  }

  void judge_dial(const Facts& facts, std::vector<FunctionSite>& sites, ProbeOutcome& outcome) {
    auto dial = dial_facts(facts, process_.process.load_bias);
    if (!dial) {
      const auto& error = dial.error();
      return partly(
          outcome, reason_code(error.reason), "no calls without a connection: " + error.message);
    }
    plan_.config.dial = dial->layout;
    sites.push_back(std::move(dial->dial));
    sites.push_back(std::move(dial->dial_error));
  }

  void fill_config() {
    auto& config = plan_.config;
    std::vector<Sampling> samplings;
    for (const auto& share : plan_.shares) {
      samplings.push_back(share.sampling);
      if (share.server) config.flags |= PROCESS_SERVER;
      if (share.client) config.flags |= PROCESS_CLIENT;
    }
    // A client span's parent is the open server span: its requests are followed too, whoever asked
    // for them.
    if ((config.flags & PROCESS_CLIENT) != 0) config.flags |= PROCESS_SERVER;
    if (config.go.g_parent_goid != 0) config.flags |= PROCESS_LINEAGE;
    const auto kernel = loosest(samplings);
    config.sampling_threshold = kernel.threshold;
    config.spans_per_second = kernel.spans_per_second;
    config.start_time_min_ns = process_.process.key.start_ticks * kNanosecondsPerTick;
    const Facts facts(*process_.binary, desired_);
    const auto bias = process_.process.load_bias;
    fill_types(config.message_types, facts, bias, kMessageTypes);
    fill_types(config.timeout_types, facts, bias, kTimeoutTypes);
  }

  const process::GoProcess& process_;
  const DesiredState& desired_;
  const LocalPolicy& policy_;
  const BudgetVerdicts& budget_;
  const Subject subject_;
  std::vector<sonde::v1::SamplingRule> rules_;
  ProbePlan plan_;
};

} // namespace

Subject subject_of(const process::Process& process) {
  return {process.key.pid, process.service, process.executable};
}

ProbePlan make_plan(
    const process::GoProcess& process, const DesiredState& desired, const LocalPolicy& policy,
    const BudgetVerdicts& budget) {
  return Planner(process, desired, policy, budget).make();
}

Reason::Code reason_code(std::string_view reason) {
  if (reason == "PROCESS_GONE") return Reason::NO_MATCHING_PROCESS;
  if (reason == "NO_SITE") return Reason::PROBE_UNSUPPORTED;
  if (reason == "ANALYSIS_FAILED" || reason == "BINARY_MALFORMED")
    return Reason::BINARY_UNSUPPORTED;
  if (reason == "PERMISSION_DENIED") return Reason::KERNEL_UNSUPPORTED;
  Reason::Code code = Reason::INTERNAL;
  if (!Reason::Code_Parse(std::string(reason), &code)) return Reason::INTERNAL;
  return code;
}

} // namespace agent::plan
