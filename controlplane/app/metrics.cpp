#include "controlplane/app/metrics.h"

#include "base/log.h"
#include "controlplane/store/agents.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <map>

namespace controlplane::app {
namespace {

using edge::MetricsWriter;

// The newest agents, which get samples of their own; a fleet beyond it is in sonde_agents only.
constexpr int kAgentsShownMax = 1000;

void single(
    MetricsWriter& writer, std::string_view name, std::string_view type, std::string_view help,
    double value) {
  writer.family(name, type, help);
  writer.sample({}, value);
}

using Agents = google::protobuf::RepeatedPtrField<sonde::v1::Agent>;

template <class Value>
void per_agent(
    MetricsWriter& writer, const Agents& agents, std::string_view name, std::string_view type,
    std::string_view help, Value value) {
  writer.family(name, type, help);
  for (const auto& agent : agents) {
    if (agent.has_health())
      writer.sample(
          {{"agent", agent.id()}, {"hostname", agent.hostname()}},
          static_cast<double>(value(agent.health())));
  }
}

double timeval_seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

} // namespace

void write_push(MetricsWriter& writer, const push::Stats& stats) {
  single(
      writer, "sonde_agents_connected", "gauge", "Agents connected to this replica.",
      static_cast<double>(stats.agents_connected));
  single(
      writer, "sonde_agent_streams", "gauge", "Streams of agents, control and results.",
      static_cast<double>(stats.streams));
  single(
      writer, "sonde_push_deltas_total", "counter", "Deltas sent to agents.",
      static_cast<double>(stats.deltas_sent));
  single(
      writer, "sonde_push_leases_total", "counter", "Lease refreshes sent to agents.",
      static_cast<double>(stats.leases_sent));
  writer.family("sonde_push_acks_total", "counter", "Acknowledgements of agents, by outcome.");
  writer.sample({{"outcome", "accepted"}}, static_cast<double>(stats.acks));
  writer.sample({{"outcome", "refused"}}, static_cast<double>(stats.acks_refused));
  single(
      writer, "sonde_push_streams_ended_total", "counter",
      "Streams that we ended: slow, silent, replaced, malformed.",
      static_cast<double>(stats.streams_ended));
  single(
      writer, "sonde_push_write_failures_total", "counter",
      "Batches of statuses that the store did not take at once.",
      static_cast<double>(stats.write_failures));
  single(
      writer, "sonde_push_view_age_seconds", "gauge", "Age of this replica's view of the store.",
      std::chrono::duration<double>(stats.view_age).count());
}

void write_ingest(MetricsWriter& writer, const ingest::IngestStats& stats) {
  writer.family("sonde_ingest_batches_total", "counter", "Batches of agents, by outcome.");
  writer.sample({{"outcome", "accepted"}}, static_cast<double>(stats.batches_accepted));
  writer.sample({{"outcome", "duplicate"}}, static_cast<double>(stats.batches_duplicate));
  writer.sample({{"outcome", "refused"}}, static_cast<double>(stats.batches_refused));
  writer.sample({{"outcome", "retry"}}, static_cast<double>(stats.batches_retried));
  writer.family("sonde_ingest_spans_total", "counter", "Spans of agents, by outcome.");
  writer.sample({{"outcome", "accepted"}}, static_cast<double>(stats.spans_accepted));
  writer.sample({{"outcome", "invalid"}}, static_cast<double>(stats.spans_invalid));
  single(
      writer, "sonde_ingest_queue_bytes", "gauge", "Batches that wait to be stored.",
      static_cast<double>(stats.queue_bytes));
}

void write_export(
    MetricsWriter& writer, const std::vector<exporter::DestinationStats>& destinations,
    uint64_t dropped_spans) {
  auto each = [&](std::string_view name, std::string_view type, std::string_view help, auto value) {
    writer.family(name, type, help);
    for (const auto& destination : destinations)
      writer.sample({{"destination", destination.name}}, static_cast<double>(value(destination)));
  };
  each(
      "sonde_export_active", "gauge", "Whether this replica exports to the destination.",
      [](const auto& destination) { return destination.exporting ? 1 : 0; });
  each(
      "sonde_export_spans_total", "counter", "Spans that the destination took.",
      [](const auto& destination) { return destination.sent_spans; });
  each(
      "sonde_export_rejected_spans_total", "counter",
      "Spans that the destination refused for good.",
      [](const auto& destination) { return destination.rejected_spans; });
  each(
      "sonde_export_failures_total", "counter", "Requests that are tried again.",
      [](const auto& destination) { return destination.failures; });
  writer.family("sonde_export_duration_seconds", "summary", "How long requests to it took.");
  for (const auto& destination : destinations) {
    writer.sample({{"destination", destination.name}}, destination.request_seconds, "_sum");
    writer.sample(
        {{"destination", destination.name}}, static_cast<double>(destination.requests), "_count");
  }
  single(
      writer, "sonde_export_dropped_spans_total", "counter",
      "Spans dropped because a destination was away for too long.",
      static_cast<double>(dropped_spans));
}

void write_store(MetricsWriter& writer, const store::PoolStats& stats) {
  writer.family("sonde_store_connections", "gauge", "Connections to PostgreSQL, by use.");
  writer.sample({{"use", "lent"}}, static_cast<double>(stats.lent));
  writer.sample({{"use", "resting"}}, static_cast<double>(stats.connections - stats.lent));
  single(
      writer, "sonde_store_acquire_timeouts_total", "counter",
      "Callers that no connection came free for.", static_cast<double>(stats.acquire_timeouts));
  single(
      writer, "sonde_store_connections_lost_total", "counter", "Connections that broke.",
      static_cast<double>(stats.connections_lost));
  single(
      writer, "sonde_store_retries_total", "counter", "Transactions that were run again.",
      static_cast<double>(stats.retries));
}

void write_edge(MetricsWriter& writer, const EdgeStats& stats) {
  single(
      writer, "sonde_edge_calls_waiting", "gauge", "Calls that wait for a worker.",
      static_cast<double>(stats.calls_waiting));
  single(
      writer, "sonde_edge_calls_overloaded_total", "counter",
      "Calls refused because too many waited.", static_cast<double>(stats.calls_refused));
  single(
      writer, "sonde_edge_connections", "gauge", "Open REST connections.",
      static_cast<double>(stats.connections));
  single(
      writer, "sonde_edge_streams", "gauge", "Open streams of server-sent events.",
      static_cast<double>(stats.streams));
  single(
      writer, "sonde_tail_readers", "gauge", "Readers of live results.",
      static_cast<double>(stats.tail_readers));
  single(
      writer, "sonde_audit_events_dropped_total", "counter", "Audit events that were not written.",
      static_cast<double>(stats.audit_events_dropped));
}

void write_fleet(MetricsWriter& writer, store::Pool& pool) {
  sonde::v1::ListAgentsRequest request;
  request.set_page_size(kAgentsShownMax);
  std::map<std::string, int64_t> states;
  auto page =
      pool.transaction([&](store::Transaction& tx) -> base::Result<sonde::v1::ListAgentsResponse> {
        states = TRY(store::count_agents(tx));
        return store::list_agents(tx, request);
      });
  if (!page) return base::log::warn("metrics of the fleet: {}", page.error().message);
  writer.family("sonde_agents", "gauge", "Agents of the fleet, by state.");
  for (const auto& [state, count] : states)
    writer.sample({{"state", state}}, static_cast<double>(count));
  per_agent(
      writer, page->agents(), "sonde_agent_cpu_seconds_total", "counter", "CPU time of the agent.",
      [](const auto& health) { return health.cpu_seconds(); });
  per_agent(
      writer, page->agents(), "sonde_agent_resident_bytes", "gauge", "Memory of the agent.",
      [](const auto& health) { return health.resident_bytes(); });
  per_agent(
      writer, page->agents(), "sonde_agent_bpf_map_bytes", "gauge",
      "Memory of the agent's BPF maps.", [](const auto& health) { return health.bpf_map_bytes(); });
  per_agent(
      writer, page->agents(), "sonde_agent_bpf_programs", "gauge",
      "BPF programs the agent has loaded.",
      [](const auto& health) { return health.bpf_programs(); });
  per_agent(
      writer, page->agents(), "sonde_map_usage_ratio", "gauge",
      "Fill of the agent's fullest BPF map.",
      [](const auto& health) { return health.map_usage_ratio(); });
  per_agent(
      writer, page->agents(), "sonde_agent_spool_bytes", "gauge",
      "Results that the agent could not deliver yet.",
      [](const auto& health) { return health.spool_bytes(); });
  per_agent(
      writer, page->agents(), "sonde_events_total", "counter",
      "Events that left the agent's kernel for user space.",
      [](const auto& health) { return health.events(); });
  writer.family("sonde_events_lost_total", "counter", "What was lost on the hosts, by reason.");
  for (const auto& agent : page->agents()) {
    for (const auto& loss : agent.health().losses())
      writer.sample(
          {{"agent", agent.id()}, {"reason", loss.reason()}}, static_cast<double>(loss.count()));
  }
}

void write_process(MetricsWriter& writer) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  single(
      writer, "process_cpu_seconds_total", "counter", "CPU time of sonded.",
      timeval_seconds(usage.ru_utime) + timeval_seconds(usage.ru_stime));
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0, resident_pages = 0;
  statm >> pages >> resident_pages;
  single(
      writer, "process_resident_memory_bytes", "gauge", "Memory of sonded.",
      static_cast<double>(resident_pages) * static_cast<double>(sysconf(_SC_PAGESIZE)));
}

} // namespace controlplane::app
