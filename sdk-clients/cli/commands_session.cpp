// Sessions: start, watch, end.
#include "sdk-clients/cli/commands.h"
#include "sdk-clients/cli/ids.h"
#include "sdk-clients/cli/input.h"
#include "sdk-clients/cli/limits.h"
#include "sdk-clients/cli/text.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <map>
#include <thread>

namespace cli {

namespace v1 = sonde::v1;
using base::Result;

namespace {

std::vector<std::string> probe_kinds() {
  std::vector<std::string> kinds;
  const auto* kind = v1::Probe::descriptor()->oneof_decl(0);
  for (int i = 0; i < kind->field_count(); ++i) kinds.push_back(kind->field(i)->json_name());
  return kinds;
}

base::Error unknown_probe(const std::string& text, const std::string& kind) {
  const auto meant = nearest(kind, probe_kinds());
  return base::invalid_argument(
      "USAGE", fmt::format(
                   "\"{}\" is no probe; {}", text,
                   meant.empty() ? fmt::format("there are {}", fmt::join(probe_kinds(), ", "))
                                 : "did you mean \"" + meant + "\"?"));
}

// "http", "http:server", "http:client", "function:main.(*Cart).Reserve", "cpuProfile", …
Result<v1::Probe> parse_probe(const std::string& text) {
  const auto colon = text.find(':');
  const auto kind = text.substr(0, colon);
  const auto option = colon == text.npos ? "" : text.substr(colon + 1);
  v1::Probe probe;
  const google::protobuf::FieldDescriptor* field = nullptr;
  const auto* kinds = v1::Probe::descriptor()->oneof_decl(0);
  for (int i = 0; i < kinds->field_count(); ++i)
    if (kinds->field(i)->json_name() == kind || kinds->field(i)->name() == kind)
      field = kinds->field(i);
  if (field == nullptr) return unknown_probe(text, kind);
  probe.GetReflection()->MutableMessage(&probe, field);
  if (probe.has_function()) {
    probe.mutable_function()->set_symbol(option);
    return probe;
  }
  if (option.empty()) return probe;
  if (probe.has_http() && option == "server")
    probe.mutable_http()->set_side(v1::HttpProbe::SERVER);
  else if (probe.has_http() && option == "client")
    probe.mutable_http()->set_side(v1::HttpProbe::CLIENT);
  else
    return base::invalid_argument(
        "USAGE",
        fmt::format(
            "\"{}\" is no option of the probe {}; http has server and client", option, kind));
  return probe;
}

// A shell makes --service "$service" empty when the variable is not set: that must not widen what
// is traced.
Result<void> refuse_empty_words(const RunArguments& arguments) {
  const auto empty = [](const std::string& word) { return word.empty(); };
  const char* flag = arguments.service == ""      ? "--service" // given, and empty
                     : arguments.executable == "" ? "--executable"
                     : std::any_of(arguments.hosts.begin(), arguments.hosts.end(), empty) ? "-l"
                     : std::any_of(arguments.agent_ids.begin(), arguments.agent_ids.end(), empty)
                         ? "--agent"
                         : nullptr;
  if (flag == nullptr) return {};
  return base::invalid_argument(
      "USAGE", fmt::format("{} is empty: leave it out to select by the others alone", flag));
}

void select(const RunArguments& arguments, v1::Selector& selector) {
  if (!arguments.hosts.empty())
    selector.set_hosts(fmt::format("{}", fmt::join(arguments.hosts, ",")));
  if (arguments.service) selector.set_service(*arguments.service);
  if (arguments.executable) selector.set_executable(*arguments.executable);
  if (arguments.max_hosts > 0) selector.set_max_hosts(arguments.max_hosts);
  if (!arguments.pids.empty())
    selector.mutable_pids()->Assign(arguments.pids.begin(), arguments.pids.end());
  if (!arguments.agent_ids.empty())
    selector.mutable_agent_ids()->Assign(arguments.agent_ids.begin(), arguments.agent_ids.end());
}

Result<void> sample(const RunArguments& arguments, v1::Session& session) {
  if (arguments.ratio) session.mutable_sampling()->set_ratio(*arguments.ratio);
  if (arguments.spans_per_second > 0)
    session.mutable_sampling()->set_spans_per_second(arguments.spans_per_second);
  if (arguments.keep_errors) session.mutable_sampling()->set_keep_errors(true);
  if (!arguments.keep_slower_than.empty())
    *session.mutable_sampling()->mutable_keep_slower_than() =
        to_proto(TRY(parse_duration(arguments.keep_slower_than)));
  if (arguments.cpu_fraction) session.mutable_budget()->set_cpu_fraction(*arguments.cpu_fraction);
  return {};
}

void print_session(
    Context& context, const v1::Session& session, const std::vector<v1::SessionHost>& hosts) {
  context.print(
      context.format == Format::kTable ? render_session(session, hosts, now(), context.style)
                                       : format_message(session, context.format));
}

Result<std::vector<v1::SessionHost>> hosts_of(Context& context, const std::string& id) {
  v1::ListSessionHostsRequest request;
  request.set_session_id(id);
  return sonde::all_pages(
      context.client, &sonde::Client::list_session_hosts, request,
      &v1::ListSessionHostsResponse::hosts);
}

// In what state how many hosts are, and how many spans they sent.
using Tally = std::map<int, int64_t>;

Tally tally_of(const v1::Session& session) {
  Tally tally{{-1, session.summary().spans()}};
  for (const auto& count : session.summary().states()) tally[count.state()] += count.hosts();
  return tally;
}

Tally tally_of(const std::vector<v1::SessionHost>& hosts) {
  Tally tally{{-1, 0}};
  for (const auto& host : hosts) {
    tally[-1] += static_cast<int64_t>(host.status().usage().spans());
    ++tally[host.status().state()];
  }
  return tally;
}

// A session and its hosts are two answers: they are asked for again until they tell of the same
// moment. Under heavy traffic they may never do.
Result<std::vector<v1::SessionHost>> hosts_of(Context& context, v1::Session& session) {
  auto hosts = TRY(hosts_of(context, session.id()));
  for (int i = 0; i < limits::kCoherentReadsMax && tally_of(session) != tally_of(hosts); ++i) {
    session = TRY(context.client.get_session(session.id()));
    if (tally_of(session) == tally_of(hosts)) break;
    hosts = TRY(hosts_of(context, session.id()));
  }
  return hosts;
}

// Hosts that have not said yet how it went.
int undecided_hosts(const v1::Session& session) {
  int hosts = 0;
  for (const auto& count : session.summary().states())
    if (count.state() == v1::AssignmentStatus::PENDING ||
        count.state() == v1::AssignmentStatus::SENT ||
        count.state() == v1::AssignmentStatus::APPLYING)
      hosts += count.hosts();
  return hosts;
}

bool is_starting(const v1::Session& session) {
  if (has_ended(session) || session.state() == v1::Session::STOPPING) return false;
  return session.summary().hosts() == 0 || undecided_hosts(session) > 0;
}

std::string status_line(const v1::Session& session) {
  return fmt::format(
      "{}  {}", v1::Session::State_Name(session.state()), render_summary(session.summary()));
}

Result<v1::Session>
wait_until_started(Context& context, v1::Session session, std::chrono::nanoseconds patience) {
  const auto start = std::chrono::steady_clock::now();
  while (is_starting(session) && std::chrono::steady_clock::now() - start < patience) {
    // Hosts are chosen at once: where there is none now, one would have to appear.
    if (session.summary().hosts() == 0 &&
        std::chrono::steady_clock::now() - start > limits::kWaitForHosts)
      break;
    context.progress.show(status_line(session));
    std::this_thread::sleep_for(limits::kPollInterval);
    session = TRY(context.client.get_session(session.id()));
  }
  context.progress.clear();
  return session;
}

int active_hosts(const v1::Session& session) {
  int hosts = 0;
  for (const auto& count : session.summary().states())
    if (count.state() == v1::AssignmentStatus::ACTIVE ||
        count.state() == v1::AssignmentStatus::PARTIAL)
      hosts += count.hosts();
  return hosts;
}

Outcome dry_run(Context& context, v1::Session session) {
  v1::CreateSessionRequest request;
  *request.mutable_session() = std::move(session);
  request.set_validate_only(true);
  const auto answer = TRY(context.client.create_session(std::move(request)));
  if (context.format != Format::kTable) {
    context.print(format_message(answer, context.format));
    return kSuccess;
  }
  context.print(fmt::format(
      "would trace {} on {} host{} with {} process{}; nothing was started\n",
      render_selector(answer.selector()), answer.summary().hosts(),
      answer.summary().hosts() == 1 ? "" : "s", answer.summary().processes(),
      answer.summary().processes() == 1 ? "" : "es"));
  if (answer.summary().has_estimate())
    context.print("cost: " + answer.summary().estimate().detail() + "\n");
  return answer.summary().hosts() == 0 ? kNotTraced : kSuccess;
}

} // namespace

Result<v1::Session> make_session(const RunArguments& arguments, const std::string& file_text) {
  v1::Session session;
  if (!arguments.file.empty()) {
    const auto messages =
        TRY(parse_messages(arguments.file, file_text, v1::Session::default_instance()));
    if (messages.size() != 1)
      return base::invalid_argument(
          "FILE_INVALID", arguments.file + " has more than one session in it");
    session.CopyFrom(*messages.front());
  }
  if (!arguments.display_name.empty()) session.set_display_name(arguments.display_name);
  if (!arguments.probes.empty()) session.clear_probes();
  for (const auto& probe : arguments.probes) *session.add_probes() = TRY(parse_probe(probe));
  if (session.probes().empty())
    return base::invalid_argument(
        "USAGE", "what to trace? Give --probe http, or a session with -f FILE");
  TRY(refuse_empty_words(arguments));
  select(arguments, *session.mutable_selector());
  TRY(sample(arguments, session));
  if (!arguments.ttl.empty()) *session.mutable_ttl() = to_proto(TRY(parse_duration(arguments.ttl)));
  if (arguments.no_store) session.mutable_export_()->set_store(false);
  if (!arguments.otlp.empty())
    session.mutable_export_()->mutable_otlp()->Assign(arguments.otlp.begin(), arguments.otlp.end());
  return session;
}

namespace {

std::string next_steps(const std::string& id, bool traced) {
  if (traced)
    return fmt::format(
        "\n  sonde tail {0}              spans as they arrive\n"
        "  sonde trace {0} --latest    the newest trace as a tree\n"
        "  sonde session stop {0}      end it now\n",
        id);
  return fmt::format(
      "\nNothing is traced (yet). `sonde processes` shows what could be.\n"
      "  sonde session status {0} --watch    whether something joins\n"
      "  sonde session stop {0}              end it now\n",
      id);
}

} // namespace

Outcome run_session(Context& context, const RunArguments& arguments) {
  const auto file_text = arguments.file.empty() ? std::string() : TRY(read_input(arguments.file));
  auto wanted = TRY(make_session(arguments, file_text));
  if (arguments.dry_run) return dry_run(context, std::move(wanted));
  const std::chrono::nanoseconds patience =
      arguments.wait.empty() ? limits::kWaitForActive : TRY(parse_duration(arguments.wait));
  v1::CreateSessionRequest request;
  *request.mutable_session() = std::move(wanted);
  auto session = TRY(context.client.create_session(std::move(request)));
  if (!arguments.no_wait) {
    context.watches(session.id());
    context.hint(fmt::format("session {} created\n", session.id()));
    session = TRY(wait_until_started(context, std::move(session), patience));
  }
  print_session(
      context, session,
      arguments.no_wait ? std::vector<v1::SessionHost>() : TRY(hosts_of(context, session)));
  const bool traced = arguments.no_wait || active_hosts(session) > 0;
  context.hint(next_steps(session.id(), traced));
  if (traced) return kSuccess;
  return session.state() == v1::Session::SUCCEEDED ? kSuccess : kNotTraced;
}

Outcome list_sessions(Context& context, const ListArguments& arguments) {
  v1::ListSessionsRequest request;
  request.set_filter(arguments.filter);
  const auto sessions = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_sessions, request, &v1::ListSessionsResponse::sessions));
  if (context.format == Format::kTable) {
    context.print(render_sessions(sessions, now(), context.style));
    return kSuccess;
  }
  v1::ListSessionsResponse all;
  all.mutable_sessions()->Assign(sessions.begin(), sessions.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome show_session(Context& context, const std::string& typed) {
  const auto id = TRY(whole_session_id(context, typed));
  const auto session = TRY(context.client.get_session(id));
  print_session(context, session, {});
  return kSuccess;
}

namespace {

// The status with all its hosts; with -o json or yaml what /v1/sessions/{id}/hosts answers.
Outcome print_status(Context& context, v1::Session session) {
  const auto hosts = TRY(hosts_of(context, session));
  if (context.format == Format::kTable) {
    context.print(render_session(session, hosts, now(), context.style));
  } else {
    v1::ListSessionHostsResponse all;
    all.mutable_hosts()->Assign(hosts.begin(), hosts.end());
    context.print(format_message(all, context.format));
  }
  return session.state() == v1::Session::FAILED ? kNotTraced : kSuccess;
}

} // namespace

Outcome session_status(Context& context, const std::string& typed, bool watch) {
  const auto id = TRY(whole_session_id(context, typed));
  auto session = TRY(context.client.get_session(id));
  if (!watch) return print_status(context, session);
  if (!has_ended(session)) context.watches(id);
  std::string printed;
  for (; !has_ended(session); session = TRY(context.client.get_session(id))) {
    const auto line = status_line(session);
    context.progress.show(fmt::format("{}  {} spans", line, session.summary().spans()));
    // Whoever reads a pipe or a log wants the changes only.
    if (!context.out_is_terminal && line != printed && context.format == Format::kTable)
      context.print(line + "\n");
    printed = line;
    std::this_thread::sleep_for(limits::kPollInterval);
  }
  return print_status(context, session);
}

namespace {

// Hosts that may still have probes: they had some and have not said that they are gone. One that is
// offline for longer than a lease has none that works.
std::vector<v1::SessionHost> unconfirmed(const std::vector<v1::SessionHost>& hosts) {
  std::vector<v1::SessionHost> waiting;
  for (const auto& host : hosts) {
    const auto& status = host.status();
    switch (status.state()) {
    case v1::AssignmentStatus::PENDING:
    case v1::AssignmentStatus::REJECTED:
    case v1::AssignmentStatus::SKIPPED:
    case v1::AssignmentStatus::REMOVED:
    case v1::AssignmentStatus::EXPIRED:
      break;
    case v1::AssignmentStatus::OFFLINE:
      if (now() - std::chrono::seconds(status.update_time().seconds()) < limits::kLease)
        waiting.push_back(host);
      break;
    default:
      waiting.push_back(host);
    }
  }
  return waiting;
}

std::string names_of(const std::vector<v1::SessionHost>& hosts) {
  constexpr size_t kNamesMax = 5;
  std::vector<std::string> names;
  for (const auto& host : hosts) {
    if (names.size() == kNamesMax) break;
    names.push_back(fmt::format(
        "{} ({})", host.hostname(), v1::AssignmentStatus::State_Name(host.status().state())));
  }
  if (hosts.size() > kNamesMax) names.push_back(fmt::format("{} more", hosts.size() - kNamesMax));
  return fmt::format("{}", fmt::join(names, ", "));
}

Outcome stop(Context& context, const std::string& id) {
  auto session = TRY(context.client.stop_session(id));
  auto hosts = TRY(hosts_of(context, id));
  const auto start = std::chrono::steady_clock::now();
  for (auto waiting = unconfirmed(hosts); !has_ended(session) || !waiting.empty();
       waiting = unconfirmed(hosts)) {
    if (std::chrono::steady_clock::now() - start > limits::kWaitForStop) break;
    context.progress.show("stopping; not confirmed yet: " + names_of(waiting));
    std::this_thread::sleep_for(limits::kPollInterval);
    session = TRY(context.client.get_session(id));
    hosts = TRY(hosts_of(context, id));
  }
  context.progress.clear();
  print_session(context, session, {});
  if (const auto waiting = unconfirmed(hosts); !waiting.empty())
    context.hint(fmt::format(
        "not confirmed by {}: probes there do nothing once their lease is over, within {} s\n",
        names_of(waiting), limits::kLease.count()));
  return kSuccess;
}

} // namespace

Outcome act_on_session(Context& context, SessionAction action, const std::string& typed) {
  const auto id = TRY(whole_session_id(context, typed));
  if (action == SessionAction::kDelete) {
    TRY(context.client.delete_session(id));
    context.hint("deleted, with its results\n");
    return kSuccess;
  }
  if (action == SessionAction::kStop) return stop(context, id);
  print_session(context, TRY(context.client.cancel_session(id)), {});
  return kSuccess;
}

Outcome extend_session(Context& context, const std::string& typed, const std::string& ttl) {
  const auto id = TRY(whole_session_id(context, typed));
  v1::ExtendSessionRequest request;
  request.set_session_id(id);
  *request.mutable_ttl() = to_proto(TRY(parse_duration(ttl)));
  print_session(context, TRY(context.client.extend_session(request)), {});
  return kSuccess;
}

} // namespace cli
