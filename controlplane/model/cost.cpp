#include "controlplane/model/cost.h"

#include <fmt/format.h>

namespace controlplane::model {
namespace {

using sonde::v1::CostEstimate;
using sonde::v1::HttpProbe;

void add_http(const HttpProbe& http, CostEstimate& estimate) {
  if (http.side() != HttpProbe::CLIENT)
    estimate.set_server_request_micros(estimate.server_request_micros() + kServerRequestMicros);
  if (http.side() != HttpProbe::SERVER)
    estimate.set_client_request_micros(estimate.client_request_micros() + kClientRequestMicros);
}

std::string price_in_service(const CostEstimate& estimate) {
  std::string text;
  if (estimate.server_request_micros() > 0)
    text = fmt::format("{:g} µs of CPU per request served", estimate.server_request_micros());
  if (estimate.client_request_micros() > 0)
    text += fmt::format(
        "{}{:g} µs{} per request made", text.empty() ? "" : ", ", estimate.client_request_micros(),
        text.empty() ? " of CPU" : "");
  return text;
}

} // namespace

CostEstimate estimate_cost(const sonde::v1::Session& session) {
  CostEstimate estimate;
  for (const auto& probe : session.probes())
    if (probe.has_http()) add_http(probe.http(), estimate);
  estimate.set_agent_span_micros(kAgentSpanMicros);
  const auto& budget = session.budget();
  estimate.set_cpu_fraction_max(
      budget.cpu_fraction() > 0 ? budget.cpu_fraction() : kCpuFractionDefault);
  estimate.set_events_per_second_max(
      budget.events_per_second() > 0 ? budget.events_per_second() : kEventsPerSecondDefault);
  estimate.set_detail(fmt::format(
      "about {} in the service, {:g} µs per span in the agent; how many there are is unknown until "
      "it runs; each host holds it to {:g} % of a CPU and {} events a second",
      price_in_service(estimate), estimate.agent_span_micros(), 100 * estimate.cpu_fraction_max(),
      estimate.events_per_second_max()));
  return estimate;
}

} // namespace controlplane::model
