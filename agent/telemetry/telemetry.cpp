#include "agent/telemetry/telemetry.h"

#include "agent/telemetry/http_span.h"
#include "agent/telemetry/limits.h"
#include "agent/telemetry/rate_gate.h"
#include "agent/telemetry/tracestate.h"
#include "agent/telemetry/wire.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

namespace agent::telemetry {
namespace {

// Field numbers of ResourceSpans, ScopeSpans and Span.
constexpr uint32_t kTracesResourceSpans = 1;
constexpr uint32_t kResource = 1, kScopeSpans = 2, kResourceSchema = 3;
constexpr uint32_t kScopeSpan = 2;
constexpr uint32_t kTraceState = 3;
constexpr uint64_t kThresholdNone = uint64_t{1} << 56;

// InstrumentationScope{name: "sonde"} as field 1 of ScopeSpans.
constexpr std::string_view kScope = "\x0a\x07\x0a\x05sonde";

int64_t count(base::Nanoseconds time) { return time.count(); }

} // namespace

uint64_t sampling_threshold(double ratio) {
  if (!(ratio > 0)) return kThresholdNone;
  if (ratio >= 1) return 0;
  return kThresholdNone - static_cast<uint64_t>(ratio * static_cast<double>(kThresholdNone));
}

struct Telemetry::State {
  struct Slot;
  struct Session {
    SessionView view;
    std::vector<Slot*> dirty; // slots with spans
    size_t bytes = 0;
    uint32_t spans = 0;
    int64_t last_sent = 0; // boot time, as all times here
    int64_t loss_since = 0;
    std::map<std::string, uint64_t, std::less<>> losses; // since the last batch
    std::map<std::string, uint64_t> losses_total;
    uint64_t spans_total = 0;
  };
  // What one session gathered of one process.
  struct Slot {
    Session* session = nullptr;
    const std::string* resource = nullptr;
    std::optional<RateGate> gate;
    std::string spans; // field `spans` of ScopeSpans, repeated
  };
  struct Process {
    std::string resource; // serialized Resource
    std::vector<std::unique_ptr<Slot>> slots;
  };

  State(HostResource host_in, const base::Clock& clock_in, Sink sink_in)
      : host(std::move(host_in)), clock(clock_in), sink(std::move(sink_in)) {
    look_at_clock();
  }

  HostResource host;
  const base::Clock& clock;
  Sink sink;
  std::map<std::string, std::unique_ptr<Session>, std::less<>> sessions;
  std::unordered_map<uint32_t, Process> processes;
  HttpSpanEncoder encoder;
  std::string tracestate;
  int64_t now = 0;
  int64_t wall_minus_boot = 0;
  // The process of the last exchange: they come in runs.
  uint32_t last_pid = 0;
  Process* last_process = nullptr;

  void look_at_clock() {
    now = count(clock.boot_time());
    wall_minus_boot = count(clock.wall_time()) - now;
  }
  // None for a process that no session traces.
  Process* find_process(uint32_t pid) {
    if (last_process && last_pid == pid) return last_process;
    const auto found = processes.find(pid);
    if (found == processes.end()) return nullptr;
    last_pid = pid;
    last_process = &found->second;
    return last_process;
  }
  void connect_sessions();
  void lose(Session& session, std::string_view reason, uint64_t number);
  bool keeps(Slot& slot, const event::HttpExchange& exchange);
  void append(Slot& slot, std::string_view span, const event::HttpExchange& exchange);
  void send(Session& session);
  bool due(const Session& session) const;
};

// Gives every process a slot per session that traces it. A session's own cap is kept here only
// where the kernel, which applies the loosest, lets more through.
void Telemetry::State::connect_sessions() {
  last_process = nullptr;
  for (auto& [pid, process] : processes) process.slots.clear();
  for (auto& [id, session] : sessions)
    for (const uint32_t pid : session->view.pids) {
      Process& process = processes[pid];
      if (process.resource.empty())
        process.resource = encode_resource(host, ProcessResource{.pid = pid}, wall_minus_boot);
      auto slot = std::make_unique<Slot>();
      slot->session = session.get();
      slot->resource = &process.resource;
      process.slots.push_back(std::move(slot));
    }
  for (auto& [pid, process] : processes) {
    uint32_t loosest = 1;
    for (const auto& slot : process.slots) {
      const uint32_t cap = slot->session->view.spans_per_second;
      loosest = cap == 0 || loosest == 0 ? 0 : std::max(loosest, cap);
    }
    for (auto& slot : process.slots) {
      const uint32_t cap = slot->session->view.spans_per_second;
      if (cap != 0 && cap != loosest) slot->gate.emplace(cap);
    }
  }
}

void Telemetry::State::lose(Session& session, std::string_view reason, uint64_t number) {
  if (number == 0) return;
  if (session.losses.empty()) session.loss_since = now;
  auto at = session.losses.find(reason);
  if (at == session.losses.end()) at = session.losses.emplace(std::string(reason), 0).first;
  at->second += number;
  session.losses_total[at->first] += number;
}

bool Telemetry::State::keeps(Slot& slot, const event::HttpExchange& exchange) {
  const SessionView& view = slot.session->view;
  if (exchange.side == event::Side::kServer ? !view.server : !view.client) return false;
  if (exchange.randomness < view.threshold) {
    lose(*slot.session, "SAMPLED_OUT", 1);
    return false;
  }
  if (slot.gate && !slot.gate->admits(exchange.randomness, exchange.end_ns)) {
    lose(*slot.session, "RATE_LIMITED", 1);
    return false;
  }
  return true;
}

void Telemetry::State::append(
    Slot& slot, std::string_view span, const event::HttpExchange& exchange) {
  Session& session = *slot.session;
  make_tracestate(
      exchange.tracestate, session.view.threshold, exchange.randomness, exchange.trace_id,
      tracestate);
  const size_t body = span.size() + wire::field_size(tracestate.size());
  const size_t before = slot.spans.size();
  if (before == 0) session.dirty.push_back(&slot);
  slot.spans.resize(before + wire::field_size(body));
  wire::Cursor out(slot.spans.data() + before);
  out.varint(wire::tag(kScopeSpan, wire::kBytes));
  out.varint(body);
  out.raw(span.data(), span.size());
  out.text(kTraceState, tracestate);
  session.bytes += slot.spans.size() - before;
  ++session.spans;
  ++session.spans_total;
}

// Spans wait for company, but not the first after a silence.
bool Telemetry::State::due(const Session& session) const {
  if (session.bytes >= kBatchBytes) return true;
  if (session.spans != 0) return now - session.last_sent >= count(kBatchAge);
  return !session.losses.empty() && now - session.loss_since >= count(kLossAge);
}

void Telemetry::State::send(Session& session) {
  if (session.spans == 0 && session.losses.empty()) return;
  const auto scope_size = [](const Slot& slot) {
    return kScope.size() + slot.spans.size() + wire::field_size(kSchemaUrl.size());
  };
  const auto resource_size = [&](const Slot& slot) {
    return wire::field_size(slot.resource->size()) + wire::field_size(scope_size(slot)) +
           wire::field_size(kSchemaUrl.size());
  };
  SessionBatch batch;
  size_t total = 0;
  for (const Slot* slot : session.dirty) total += wire::field_size(resource_size(*slot));
  batch.traces.resize(total);
  wire::Cursor out(batch.traces.data());
  for (Slot* slot : session.dirty) {
    out.varint(wire::tag(kTracesResourceSpans, wire::kBytes));
    out.varint(resource_size(*slot));
    out.text(kResource, *slot->resource);
    out.varint(wire::tag(kScopeSpans, wire::kBytes));
    out.varint(scope_size(*slot));
    out.raw(kScope.data(), kScope.size());
    out.raw(slot->spans.data(), slot->spans.size());
    out.text(kResourceSchema, kSchemaUrl);
    out.text(kResourceSchema, kSchemaUrl);
    slot->spans.clear();
  }
  batch.session_id = session.view.session_id;
  batch.spans = session.spans;
  batch.losses.insert(session.losses.begin(), session.losses.end());
  session.dirty.clear();
  session.losses.clear();
  session.bytes = 0;
  session.spans = 0;
  session.last_sent = now;
  sink(std::move(batch));
}

Telemetry::Telemetry(HostResource host, const base::Clock& clock, Sink sink)
    : state_(std::make_unique<State>(std::move(host), clock, std::move(sink))) {}

Telemetry::~Telemetry() = default;

void Telemetry::set_sessions(std::vector<SessionView> sessions) {
  flush_all();
  State& state = *state_;
  auto before = std::exchange(state.sessions, {});
  for (SessionView& view : sessions) {
    if (state.sessions.size() == kSessionsMax) break;
    auto known = before.find(view.session_id);
    auto session =
        known != before.end() ? std::move(known->second) : std::make_unique<State::Session>();
    if (known != before.end()) before.erase(known);
    const std::string id = view.session_id;
    session->view = std::move(view);
    state.sessions[id] = std::move(session);
  }
  state.connect_sessions();
}

void Telemetry::set_process(const ProcessResource& process) {
  State& state = *state_;
  // Spans that are gathered already leave with the description they were gathered under.
  flush_all();
  state.processes[process.pid].resource =
      encode_resource(state.host, process, state.wall_minus_boot);
}

void Telemetry::forget_process(uint32_t pid) {
  flush_all();
  state_->processes.erase(pid);
  state_->last_process = nullptr;
}

void Telemetry::on_exchange(const event::HttpExchange& exchange) {
  State& state = *state_;
  State::Process* process = state.find_process(exchange.pid);
  if (!process) return;
  std::string_view span;
  for (const auto& slot : process->slots) {
    if (!state.keeps(*slot, exchange)) continue;
    if (span.empty()) span = state.encoder.encode(exchange, state.wall_minus_boot);
    state.append(*slot, span, exchange);
    if (slot->session->bytes >= kBatchBytes) state.send(*slot->session);
  }
}

void Telemetry::count_loss(uint32_t pid, std::string_view reason, uint64_t number) {
  State& state = *state_;
  if (pid == 0) {
    for (auto& [id, session] : state.sessions) state.lose(*session, reason, number);
    return;
  }
  const auto process = state.processes.find(pid);
  if (process == state.processes.end()) return;
  for (const auto& slot : process->second.slots) state.lose(*slot->session, reason, number);
}

void Telemetry::flush() {
  state_->look_at_clock();
  for (auto& [id, session] : state_->sessions)
    if (state_->due(*session)) state_->send(*session);
}

void Telemetry::flush_all() {
  state_->look_at_clock();
  for (auto& [id, session] : state_->sessions) state_->send(*session);
}

uint64_t Telemetry::spans_of(std::string_view session_id) const {
  const auto session = state_->sessions.find(session_id);
  return session == state_->sessions.end() ? 0 : session->second->spans_total;
}

std::map<std::string, uint64_t> Telemetry::losses_of(std::string_view session_id) const {
  const auto session = state_->sessions.find(session_id);
  if (session == state_->sessions.end()) return {};
  return session->second->losses_total;
}

} // namespace agent::telemetry
