#include "sdk-clients/cli/render.h"

#include "sdk-clients/cli/limits.h"
#include "sdk-clients/cli/text.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <map>

namespace cli {

using sonde::v1::Agent;
using sonde::v1::AssignmentStatus;
using sonde::v1::JoinToken;
using sonde::v1::Session;

namespace {

Tint tint_of(Agent::State state) {
  switch (state) {
  case Agent::ONLINE:
    return Tint::kGood;
  case Agent::DRAINING:
    return Tint::kWarning;
  case Agent::EVICTED:
  case Agent::BANNED:
    return Tint::kBad;
  default:
    return Tint::kDim;
  }
}

Tint tint_of(Session::State state) {
  switch (state) {
  case Session::ACTIVE:
  case Session::SUCCEEDED:
    return Tint::kGood;
  case Session::FAILED:
    return Tint::kBad;
  case Session::SCHEDULED:
  case Session::STARTING:
  case Session::STOPPING:
    return Tint::kWarning;
  default:
    return Tint::kDim;
  }
}

Tint tint_of(AssignmentStatus::State state) {
  switch (state) {
  case AssignmentStatus::ACTIVE:
    return Tint::kGood;
  case AssignmentStatus::REJECTED:
    return Tint::kBad;
  case AssignmentStatus::PARTIAL:
  case AssignmentStatus::STALE:
  case AssignmentStatus::OFFLINE:
    return Tint::kWarning;
  default:
    return Tint::kDim;
  }
}

std::string
join(const google::protobuf::RepeatedPtrField<std::string>& items, std::string_view none = "-") {
  return items.empty() ? std::string(none) : fmt::format("{}", fmt::join(items, ","));
}

std::string time_left(const Session& session, Now now) {
  if (has_ended(session))
    return session.has_end_time() ? "ended " + format_age(session.end_time(), now) : "ended";
  if (!session.has_expire_time()) return "-";
  return "ends " + format_age(session.expire_time(), now);
}

std::string render_probes(const Session& session) {
  std::vector<std::string> names;
  for (const auto& probe : session.probes()) names.push_back(render_probe(probe));
  return fmt::format("{}", fmt::join(names, ","));
}

std::string reason_of(const AssignmentStatus& status) {
  if (status.reason() == sonde::v1::Reason::CODE_UNSPECIFIED) return "-";
  return sonde::v1::Reason::Code_Name(status.reason());
}

// The sentence that explains a host's state: its own, or the first one of its probes.
std::string detail_of(const AssignmentStatus& status) {
  if (!status.detail().empty()) return status.detail();
  for (const auto& probe : status.probes())
    if (!probe.detail().empty()) return fmt::format("pid {}: {}", probe.pid(), probe.detail());
  return "";
}

size_t active_processes(const AssignmentStatus& status) {
  std::map<uint32_t, bool> pids;
  for (const auto& probe : status.probes())
    if (probe.state() == AssignmentStatus::ACTIVE) pids[probe.pid()] = true;
  return pids.size();
}

std::string render_hosts(const std::vector<sonde::v1::SessionHost>& hosts, const Style& style) {
  Table table(
      {"HOST", "STATE", "REASON", "PROCESSES", "SPANS", "LOST", "DETAIL"}, {"PROCESSES", "LOST"});
  for (const auto& host : hosts) {
    const auto& status = host.status();
    const auto losses = render_losses(status.usage().losses());
    table.add(
        {host.hostname(),
         {AssignmentStatus::State_Name(status.state()), tint_of(status.state())},
         reason_of(status),
         fmt::to_string(active_processes(status)),
         fmt::to_string(status.usage().spans()),
         losses.empty() ? "-" : losses,
         detail_of(status)});
  }
  return table.render(style);
}

std::string attribute(const sonde::v1::Span& span, const char* name) {
  const auto found = span.attributes().fields().find(name);
  if (found == span.attributes().fields().end()) return "";
  const auto& value = found->second;
  if (value.has_number_value()) return fmt::format("{:.0f}", value.number_value());
  return value.string_value();
}

std::string render_span(const sonde::v1::Span& span, const Style& style) {
  const bool failed = span.status() == "ERROR";
  auto outcome = attribute(span, "http.response.status_code");
  if (const auto error = attribute(span, "error.type"); failed && error != outcome)
    outcome += (outcome.empty() ? "" : " ") + error;
  if (const auto own = attribute(span, "sonde.outcome"); !own.empty())
    outcome += (outcome.empty() ? "" : " ") + own;
  return fmt::format(
      "{}  {}  {} {} {}  {}  {}\n", format_clock_time(span.start_time()),
      style.paint(fit(span.service(), 32), Tint::kBold), span.kind(),
      fit(span_title(span.name(), attribute(span, "url.path"), attribute(span, "url.full")),
          limits::kSpanTitleColumnsMax),
      style.paint(outcome.empty() ? "-" : fit(outcome, 40), failed ? Tint::kBad : Tint::kGood),
      format_duration(from_proto(span.duration())),
      style.paint("trace " + span.root_trace_id(), Tint::kDim));
}

} // namespace

bool has_ended(const Session& session) {
  switch (session.state()) {
  case Session::SUCCEEDED:
  case Session::FAILED:
  case Session::CANCELLED:
  case Session::EXPIRED:
    return true;
  default:
    return false;
  }
}

std::string render_labels(const google::protobuf::Map<std::string, std::string>& labels) {
  const std::map<std::string, std::string> sorted(labels.begin(), labels.end());
  std::vector<std::string> pairs;
  for (const auto& [key, value] : sorted) pairs.push_back(key + "=" + value);
  return pairs.empty() ? "-" : fmt::format("{}", fmt::join(pairs, ","));
}

std::string render_probe(const sonde::v1::Probe& probe) {
  const auto* kind =
      probe.GetReflection()->GetOneofFieldDescriptor(probe, probe.GetDescriptor()->oneof_decl(0));
  if (kind == nullptr) return "-";
  if (probe.has_http() && probe.http().side() == sonde::v1::HttpProbe::SERVER) return "http:server";
  if (probe.has_http() && probe.http().side() == sonde::v1::HttpProbe::CLIENT) return "http:client";
  if (probe.has_function()) return "function:" + probe.function().symbol();
  return kind->json_name();
}

std::string render_selector(const sonde::v1::Selector& selector) {
  std::vector<std::string> parts;
  if (!selector.hosts().empty()) parts.push_back("hosts " + selector.hosts());
  if (!selector.service().empty()) parts.push_back("service " + selector.service());
  if (!selector.executable().empty()) parts.push_back("executable " + selector.executable());
  if (selector.pids_size() > 0)
    parts.push_back(fmt::format("pids {}", fmt::join(selector.pids(), ",")));
  if (selector.agent_ids_size() > 0)
    parts.push_back(fmt::format("agents {}", fmt::join(selector.agent_ids(), ",")));
  if (selector.max_hosts() > 0)
    parts.push_back(fmt::format("at most {} hosts", selector.max_hosts()));
  return parts.empty() ? "-" : fmt::format("{}", fmt::join(parts, ", "));
}

std::string render_losses(const google::protobuf::RepeatedPtrField<sonde::v1::Loss>& losses) {
  uint64_t total = 0;
  std::vector<std::string> parts;
  for (const auto& loss : losses) {
    if (loss.count() == 0) continue;
    total += loss.count();
    parts.push_back(fmt::format("{} {}", loss.reason(), loss.count()));
  }
  return total == 0 ? "" : fmt::format("{} lost ({})", total, fmt::join(parts, ", "));
}

std::string render_summary(const sonde::v1::SessionSummary& summary) {
  int active = 0;
  std::vector<std::string> rest;
  for (const auto& reason : summary.reasons())
    if (reason.hosts() > 0)
      rest.push_back(
          fmt::format("{} {}", reason.hosts(), sonde::v1::Reason::Code_Name(reason.reason())));
  const bool reasons_known = !rest.empty();
  for (const auto& count : summary.states()) {
    if (count.state() == AssignmentStatus::ACTIVE) active += count.hosts();
    // Those were counted above, in words that say more.
    const bool explained =
        count.state() == AssignmentStatus::REJECTED || count.state() == AssignmentStatus::SKIPPED;
    if (count.state() == AssignmentStatus::ACTIVE || count.hosts() == 0 ||
        (explained && reasons_known))
      continue;
    rest.push_back(
        fmt::format("{} {}", count.hosts(), AssignmentStatus::State_Name(count.state())));
  }
  if (summary.hosts() == 0) return "no hosts";
  auto text = fmt::format("{}/{} ACTIVE", active, summary.hosts());
  for (const auto& part : rest) text += " · " + part;
  return text;
}

std::string render_hosts_of(const Session& session) {
  if (!has_ended(session)) return render_summary(session.summary());
  const auto hosts = session.summary().hosts();
  if (hosts == 0) return "no hosts";
  auto text = fmt::format("{} host{}", hosts, hosts == 1 ? "" : "s");
  for (const auto& reason : session.summary().reasons())
    if (reason.hosts() > 0 && reason.reason() != sonde::v1::Reason::LEASE_EXPIRED)
      text +=
          fmt::format(" · {} {}", reason.hosts(), sonde::v1::Reason::Code_Name(reason.reason()));
  return text;
}

std::string render_agents(const std::vector<Agent>& agents, Now now, const Style& style) {
  if (agents.empty())
    return "No agents yet: `sonde token create` makes the join token that one enrolls with.\n";
  Table table(
      {"AGENT", "HOST", "STATE", "SEEN", "VERSION", "KERNEL", "LABELS", "PROCESSES", "RSS", "CPU",
       "MAPS", "LOST"},
      {"KERNEL", "MAPS", "VERSION", "LABELS", "CPU", "RSS", "LOST", "PROCESSES"});
  for (const auto& agent : agents) {
    const auto& health = agent.health();
    uint64_t lost = 0;
    for (const auto& loss : health.losses()) lost += loss.count();
    table.add(
        {agent.id(),
         agent.hostname(),
         {Agent::State_Name(agent.state()), tint_of(agent.state())},
         format_age(agent.last_seen_time(), now),
         agent.version(),
         agent.kernel(),
         render_labels(agent.assigned_labels()),
         fmt::to_string(health.processes()),
         format_bytes(health.resident_bytes()),
         fmt::format("{:.1f} s", health.cpu_seconds()),
         format_bytes(health.bpf_map_bytes()),
         fmt::to_string(lost)});
  }
  return table.render(style);
}

std::string
render_processes(const std::vector<sonde::v1::Process>& processes, Now now, const Style& style) {
  if (processes.empty()) return "No Go processes are known (yet).\n";
  Table table(
      {"HOST", "PID", "SERVICE", "GO", "MODULE", "STARTED", "PROBES", "EXECUTABLE", "WHY NOT"},
      {"STARTED", "MODULE", "GO", "EXECUTABLE", "PROBES"});
  for (const auto& process : processes) {
    const bool refused = process.reason() != sonde::v1::Reason::CODE_UNSPECIFIED;
    table.add(
        {process.hostname(), fmt::to_string(process.pid()), process.service(), process.go_version(),
         process.main_module(), format_age(process.start_time(), now),
         join(process.supported_probes()), process.executable(),
         refused ? sonde::v1::Reason::Code_Name(process.reason()) +
                       (process.detail().empty() ? "" : ": " + process.detail())
                 : ""});
  }
  return table.render(style);
}

std::string render_sessions(const std::vector<Session>& sessions, Now now, const Style& style) {
  if (sessions.empty())
    return "No sessions: start one with `sonde session run --probe http -l '*'`.\n";
  Table table(
      {"SESSION", "NAME", "STATE", "HOSTS", "PROBES", "SPANS", "TIME", "BY"},
      {"BY", "PROBES", "TIME"});
  for (const auto& session : sessions)
    table.add(
        {session.id(),
         session.display_name(),
         {Session::State_Name(session.state()), tint_of(session.state())},
         render_hosts_of(session),
         render_probes(session),
         fmt::to_string(session.summary().spans()),
         time_left(session, now),
         session.created_by()});
  return table.render(style);
}

std::string render_session(
    const Session& session, const std::vector<sonde::v1::SessionHost>& hosts, Now now,
    const Style& style) {
  auto text = fmt::format(
      "session {}  {}  {}\n", session.id(),
      style.paint(Session::State_Name(session.state()), tint_of(session.state())),
      render_hosts_of(session));
  const auto line = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<10}{}\n", name, value);
  };
  line("name", fit(session.display_name(), 100));
  line("why", fit(session.state_detail(), 200));
  line("traces", render_probes(session) + " in " + render_selector(session.selector()));
  line("time", time_left(session, now));
  line(
      "spans", fmt::format(
                   "{} in {} process{}", session.summary().spans(), session.summary().processes(),
                   session.summary().processes() == 1 ? "" : "es"));
  line("lost", render_losses(session.summary().usage().losses()));
  if (session.summary().usage().bpf_map_bytes() > 0 ||
      session.summary().usage().bpf_cpu_seconds() > 0)
    line(
        "cost", fmt::format(
                    "{:.3f} s of CPU in the kernel, {} of maps",
                    session.summary().usage().bpf_cpu_seconds(),
                    format_bytes(session.summary().usage().bpf_map_bytes())));
  if (!hosts.empty()) text += "\n" + render_hosts(hosts, style);
  return text;
}

std::string render_tokens(const std::vector<JoinToken>& tokens, Now now, const Style& style) {
  if (tokens.empty()) return "No join tokens: `sonde token create` makes one.\n";
  Table table(
      {"TOKEN", "STATE", "EXPIRES", "LABELS", "AGENT", "CREATED", "BY"},
      {"BY", "CREATED", "AGENT", "LABELS"});
  for (const auto& token : tokens)
    table.add(
        {token.id(),
         {JoinToken::State_Name(token.state()),
          token.state() == JoinToken::UNUSED ? Tint::kGood : Tint::kDim},
         format_age(token.expire_time(), now),
         render_labels(token.labels()),
         token.agent_id().empty() ? "-" : token.agent_id(),
         format_age(token.create_time(), now),
         token.created_by()});
  return table.render(style);
}

std::string
render_rules(const std::vector<sonde::v1::SamplingRule>& rules, Now now, const Style& style) {
  if (rules.empty()) return "No sampling rules: sessions keep what they ask for.\n";
  Table table(
      {"RULE", "NAME", "SELECTS", "RATIO", "SPANS/S", "STATE", "UPDATED", "BY"},
      {"BY", "UPDATED", "SPANS/S"});
  for (const auto& rule : rules)
    table.add(
        {rule.id(), rule.display_name(), render_selector(rule.selector()),
         rule.has_ratio() ? fmt::format("{}", rule.ratio()) : "-",
         rule.spans_per_second() > 0 ? fmt::to_string(rule.spans_per_second()) : "-",
         rule.disabled() ? Cell("disabled", Tint::kDim) : Cell("enabled", Tint::kGood),
         format_age(rule.update_time(), now), rule.created_by()});
  return table.render(style);
}

std::string
render_offset_tables(const std::vector<sonde::v1::OffsetTable>& tables, const Style& style) {
  if (tables.empty()) return "No offset tables: agents read what they need from the binaries.\n";
  Table table({"TABLE", "GO", "ARCH", "MODULE", "FIELDS", "CONFIRMED BY"}, {"ARCH", "FIELDS"});
  for (const auto& offsets : tables)
    table.add(
        {offsets.id(), offsets.go_version(), offsets.architecture(),
         offsets.module().empty() ? "std" : offsets.module() + "@" + offsets.module_version(),
         fmt::to_string(offsets.fields_size()), fmt::format("{} agents", offsets.confirmations())});
  return table.render(style);
}

std::string
render_traces(const std::vector<sonde::v1::TraceSummary>& traces, Now now, const Style& style) {
  if (traces.empty()) return "No traces (yet).\n";
  Table table(
      {"TRACE", "ROOT", "SERVICES", "SPANS", "ERRORS", "DURATION", "STARTED"},
      {"SERVICES", "STARTED", "SPANS"});
  for (const auto& trace : traces)
    table.add(
        {trace.trace_id(),
         trace.root_service() + " " + trace.root_name(),
         join(trace.services()),
         fmt::to_string(trace.spans()),
         {fmt::to_string(trace.errors()), trace.errors() > 0 ? Tint::kBad : Tint::kNone},
         format_duration(from_proto(trace.duration())),
         format_age(trace.start_time(), now)});
  return table.render(style);
}

std::string render_tail_event(const sonde::v1::TailSessionResponse& event, const Style& style) {
  if (event.has_span()) return render_span(event.span(), style);
  if (event.has_session())
    return style.paint(
               fmt::format(
                   "session {} {}  {}", event.session().id(),
                   Session::State_Name(event.session().state()),
                   render_summary(event.session().summary())),
               Tint::kDim) +
           "\n";
  if (event.has_missed())
    return style.paint(
               fmt::format(
                   "{} events missed here ({}): this reader was too slow", event.missed().count(),
                   event.missed().reason()),
               Tint::kWarning) +
           "\n";
  return "";
}

} // namespace cli
