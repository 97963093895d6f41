// What a span costs in agent/telemetry, apart from everything around it.
#include "agent/telemetry/http_span.h"
#include "agent/telemetry/telemetry.h"

#include <benchmark/benchmark.h>

namespace {

using namespace agent;

event::HttpExchange exchange() {
  event::HttpExchange result;
  result.pid = 7;
  result.method = "GET";
  result.target = "/cart/12345?page=2&sort=price";
  result.host = "shop.example.org:8080";
  result.user_agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36";
  result.status = 200;
  result.response_body_bytes = 120;
  result.start_ns = 1'000'000;
  result.end_ns = 1'020'000;
  result.trace_id = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  result.span_id = {1, 2, 3, 4, 5, 6, 7, 8};
  result.parent_span_id = {8, 7, 6, 5, 4, 3, 2, 1};
  result.peer = {{10, 0, 203, 9}, 4, 51234};
  result.local = {{10, 0, 0, 1}, 4, 8080};
  return result;
}

void encode_span(benchmark::State& state) {
  telemetry::HttpSpanEncoder encoder;
  const event::HttpExchange one = exchange();
  size_t bytes = 0;
  for (auto _ : state) {
    bytes = encoder.encode(one, 1'700'000'000'000'000'000).size();
    benchmark::DoNotOptimize(bytes);
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(encode_span);

void span_in_a_batch(benchmark::State& state) {
  base::SystemClock clock;
  telemetry::Telemetry telemetry(
      telemetry::read_host_resource(), clock,
      [](telemetry::SessionBatch batch) { benchmark::DoNotOptimize(batch.traces.data()); });
  telemetry.set_process({.pid = 7, .service_name = "cart"});
  std::vector<telemetry::SessionView> views(state.range(0));
  for (size_t i = 0; i < views.size(); ++i) {
    views[i].session_id = "session-" + std::to_string(i);
    views[i].pids = {7};
  }
  telemetry.set_sessions(views);
  const event::HttpExchange one = exchange();
  for (auto _ : state) telemetry.on_exchange(one);
}
BENCHMARK(span_in_a_batch)->Arg(1)->Arg(4);

} // namespace

BENCHMARK_MAIN();
