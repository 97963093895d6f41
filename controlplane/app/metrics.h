// What the parts of sonded count, in the words of Prometheus.
#pragma once

#include "controlplane/edge/call_metrics.h"
#include "controlplane/export/exporter.h"
#include "controlplane/ingest/ingest.h"
#include "controlplane/push/push.h"
#include "controlplane/store/pool.h"

namespace controlplane::app {

struct EdgeStats {
  size_t calls_waiting;
  uint64_t calls_refused;
  size_t connections;
  size_t streams;
  size_t tail_readers;
  uint64_t audit_events_dropped;
};

void write_push(edge::MetricsWriter& writer, const push::Stats& stats);
void write_ingest(edge::MetricsWriter& writer, const ingest::IngestStats& stats);
void write_export(
    edge::MetricsWriter& writer, const std::vector<exporter::DestinationStats>& destinations,
    uint64_t dropped_spans);
void write_store(edge::MetricsWriter& writer, const store::PoolStats& stats);
void write_edge(edge::MetricsWriter& writer, const EdgeStats& stats);
// What agents said of themselves in their last heartbeat. Blocks on the store.
void write_fleet(edge::MetricsWriter& writer, store::Pool& pool);
// Memory, CPU time and start of this process.
void write_process(edge::MetricsWriter& writer);

} // namespace controlplane::app
