// REST: every RPC with an HTTP binding, and the four paths that are not RPCs (/healthz, /readyz,
// /openapi.json and the preflight of OPTIONS). Nothing here knows a single RPC.
#pragma once

#include "controlplane/edge/dispatch.h"
#include "controlplane/edge/http.h"
#include "controlplane/edge/readiness.h"

namespace controlplane::edge {

// Thread-safe; what it refers to outlives it.
class RestApi final : public HttpHandler {
 public:
  RestApi(const Dispatch& dispatch, const Readiness& readiness)
      : dispatch_(dispatch), readiness_(readiness) {}

  std::optional<HttpReply> at_once(const HttpRequest& request) override;
  HttpAnswer serve(const HttpRequest& request) override;

 private:
  HttpReply ready(const HttpRequest& request) const;
  HttpReply open_api(const HttpRequest& request) const;
  HttpAnswer call(const HttpRequest& request) const;
  HttpAnswer call_unary(const HttpRequest& request, const MethodTable::Route& route) const;
  HttpAnswer open_stream(const HttpRequest& request, const MethodTable::Route& route) const;

  const Dispatch& dispatch_;
  const Readiness& readiness_;
};

// /metrics, on a listener of its own that only loopback reaches unless told otherwise.
class MetricsApi final : public HttpHandler {
 public:
  explicit MetricsApi(const MetricsPage& page) : page_(page) {}
  std::optional<HttpReply> at_once(const HttpRequest&) override { return std::nullopt; }
  HttpAnswer serve(const HttpRequest& request) override;

 private:
  const MetricsPage& page_;
};

} // namespace controlplane::edge
