// Sessions, agents and batches for tests of results.
#pragma once

#include "controlplane/ingest/ingest.h"
#include "controlplane/store/pool.h"
#include "postgres_fixture.h"

#include "opentelemetry/proto/trace/v1/trace.pb.h"
#include "sonde/v1/agent_results_service.pb.h"
#include "sonde/v1/session.pb.h"

#include <gtest/gtest.h>

#include <future>
#include <map>
#include <string>
#include <vector>

namespace results_fixture {

using controlplane::store::Bytes;
using controlplane::store::Pool;
using controlplane::store::Transaction;
using opentelemetry::proto::trace::v1::Span;
using opentelemetry::proto::trace::v1::TracesData;
using sonde::v1::UploadRequest;
using sonde::v1::UploadResponse;

inline const std::string kAgent = "11111111-1111-4111-8111-111111111111";
inline const std::string kOtherAgent = "22222222-2222-4222-8222-222222222222";
inline const std::string kSession = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
inline const std::string kOtherSession = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

// Runs statements that must succeed.
template <class Body> auto in_transaction(Pool& pool, Body body) {
  auto result = pool.transaction(body);
  if (!result) {
    ADD_FAILURE() << result.error().reason << ": " << result.error().message;
    abort();
  }
  return std::move(result).take();
}

inline int64_t number(Pool& pool, const std::string& sql) {
  return in_transaction(pool, [&](Transaction& tx) -> base::Result<int64_t> {
    return TRY(tx.exec("select (" + sql + ")::bigint as n")).front().integer("n");
  });
}

inline void add_agent(Pool& pool, const std::string& id, const std::string& hostname) {
  in_transaction(pool, [&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec("insert into agents (id, hostname) values ($1::uuid, $2)", id, hostname));
    return {};
  });
}

inline void add_session(
    Pool& pool, const std::string& id, const std::vector<std::string>& agents,
    const sonde::v1::Export& where = {}) {
  in_transaction(pool, [&](Transaction& tx) -> base::Result<> {
    sonde::v1::Session spec;
    *spec.mutable_export_() = where;
    TRY(tx.exec(
        "insert into sessions (id, spec, state, expire_time, created_by) "
        "values ($1::uuid, $2::bytea, 'ACTIVE', now() + interval '5 minutes', 'test')",
        id, Bytes{spec.SerializeAsString()}));
    for (const std::string& agent : agents)
      TRY(tx.exec(
          "insert into assignment_statuses (session_id, agent_id) values ($1::uuid, $2::uuid)", id,
          agent));
    return {};
  });
}

inline std::string bytes_of(uint64_t number, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size && i < 8; ++i)
    bytes[size - 1 - i] = static_cast<char>(number >> (8 * i));
  return bytes;
}

struct SpanOf {
  uint64_t trace = 1;
  uint64_t span = 1;
  uint64_t parent = 0;
  std::string name = "GET";
  uint64_t start = 1'700'000'000'000'000'000;
  uint64_t duration = 1'000'000;
  bool error = false;
  Span::SpanKind kind = Span::SPAN_KIND_SERVER;
};

inline void
add_span(UploadRequest& request, const SpanOf& of, const std::string& service = "cart") {
  TracesData& traces = *request.mutable_traces();
  auto* resource = traces.resource_spans_size() == 0
                       ? nullptr
                       : traces.mutable_resource_spans(traces.resource_spans_size() - 1);
  if (!resource || resource->resource().attributes(0).value().string_value() != service) {
    resource = traces.add_resource_spans();
    auto& name = *resource->mutable_resource()->add_attributes();
    name.set_key("service.name");
    name.mutable_value()->set_string_value(service);
    auto& pid = *resource->mutable_resource()->add_attributes();
    pid.set_key("process.pid");
    pid.mutable_value()->set_int_value(42);
    resource->add_scope_spans()->mutable_scope()->set_name("sonde");
  }
  Span& span = *resource->mutable_scope_spans(0)->add_spans();
  span.set_trace_id(bytes_of(of.trace, 16));
  span.set_span_id(bytes_of(of.span, 8));
  if (of.parent) span.set_parent_span_id(bytes_of(of.parent, 8));
  span.set_name(of.name);
  span.set_kind(of.kind);
  span.set_start_time_unix_nano(of.start);
  span.set_end_time_unix_nano(of.start + of.duration);
  if (of.error)
    span.mutable_status()->set_code(opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR);
  auto& attribute = *span.add_attributes();
  attribute.set_key("http.request.method");
  attribute.mutable_value()->set_string_value("GET");
}

inline UploadRequest
batch_of(uint64_t number, const std::vector<SpanOf>& spans, const std::string& session = kSession) {
  UploadRequest request;
  request.set_boot_id("boot-1");
  request.set_batch(number);
  request.set_session_id(session);
  for (const SpanOf& span : spans) add_span(request, span);
  return request;
}

// Sends and waits for the answer.
inline UploadResponse upload(
    controlplane::ingest::Ingest& ingest, const UploadRequest& request,
    const std::string& agent = kAgent) {
  auto promise = std::make_shared<std::promise<UploadResponse>>();
  auto answer = promise->get_future();
  ingest.submit(agent, request.SerializeAsString(), [promise](UploadResponse response) {
    promise->set_value(std::move(response));
  });
  return answer.get();
}

} // namespace results_fixture
