// The control plane, as plain functions: one per RPC, and each answers a Result.
#pragma once

#include "base/result.h"
#include "sdk-clients/cpp/config.h"
#include "sdk-clients/cpp/limits.h"

#include <google/protobuf/empty.pb.h>
#include <opentelemetry/proto/trace/v1/trace.pb.h>
#include <sonde/v1/agent_service.pb.h>
#include <sonde/v1/join_token_service.pb.h>
#include <sonde/v1/offset_table_service.pb.h>
#include <sonde/v1/result_service.pb.h>
#include <sonde/v1/sampling_rule_service.pb.h>
#include <sonde/v1/session_service.pb.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace grpc {
class Channel;
} // namespace grpc

namespace sonde {

// Thread-safe. Calls block until their answer or the deadline of the configuration, and are tried
// again while the server is unavailable (creation is safe to repeat: it carries a request id).
// Errors carry the server's stable reason.
class Client {
 public:
  // Opens no connection yet: the first call does.
  explicit Client(ClientConfig config);
  // Over a channel of the caller's, such as one inside the process.
  Client(ClientConfig config, const std::shared_ptr<grpc::Channel>& channel);
  ~Client();
  Client(Client&&) noexcept;

  // An empty request id gets a fresh one.
  base::Result<v1::Session> create_session(v1::CreateSessionRequest request);
  base::Result<v1::Session> get_session(const std::string& id);
  base::Result<v1::ListSessionsResponse> list_sessions(const v1::ListSessionsRequest& request);
  base::Result<v1::Session> update_session(const v1::UpdateSessionRequest& request);
  base::Result<google::protobuf::Empty> delete_session(const std::string& id);
  base::Result<v1::Session> stop_session(const std::string& id);
  base::Result<v1::Session> cancel_session(const std::string& id);
  base::Result<v1::Session> extend_session(const v1::ExtendSessionRequest& request);
  base::Result<v1::ListSessionHostsResponse>
  list_session_hosts(const v1::ListSessionHostsRequest& request);

  base::Result<v1::ListSpansResponse> list_spans(const v1::ListSpansRequest& request);
  base::Result<v1::ListTracesResponse> list_traces(const v1::ListTracesRequest& request);
  base::Result<v1::Trace> get_trace(const std::string& session_id, const std::string& trace_id);
  // Calls `event` for everything that happens until the session ends, `event` answers false, or an
  // error comes that does not pass. A broken stream is resumed behind the last event.
  base::Result<void> tail_session(
      const std::string& session_id,
      const std::function<bool(const v1::TailSessionResponse&)>& event);

  base::Result<v1::Agent> get_agent(const std::string& id);
  base::Result<v1::ListAgentsResponse> list_agents(const v1::ListAgentsRequest& request);
  base::Result<v1::Agent> update_agent(const v1::UpdateAgentRequest& request);
  base::Result<v1::Agent> drain_agent(const std::string& id);
  base::Result<v1::Agent> evict_agent(const std::string& id);
  base::Result<v1::Agent> ban_agent(const std::string& id);
  base::Result<v1::ListProcessesResponse> list_processes(const v1::ListProcessesRequest& request);

  base::Result<v1::JoinToken> create_join_token(v1::CreateJoinTokenRequest request);
  base::Result<v1::ListJoinTokensResponse>
  list_join_tokens(const v1::ListJoinTokensRequest& request);
  base::Result<google::protobuf::Empty> delete_join_token(const std::string& id);

  base::Result<v1::SamplingRule> create_sampling_rule(v1::CreateSamplingRuleRequest request);
  base::Result<v1::SamplingRule> get_sampling_rule(const std::string& id);
  base::Result<v1::ListSamplingRulesResponse>
  list_sampling_rules(const v1::ListSamplingRulesRequest& request);
  base::Result<v1::SamplingRule> update_sampling_rule(const v1::UpdateSamplingRuleRequest& request);
  base::Result<google::protobuf::Empty> delete_sampling_rule(const std::string& id);

  base::Result<v1::OffsetTable> get_offset_table(const std::string& id);
  base::Result<v1::ListOffsetTablesResponse>
  list_offset_tables(const v1::ListOffsetTablesRequest& request);

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

// All items of a list, page by page: all_pages(client, &Client::list_agents, request,
// &v1::ListAgentsResponse::agents) in the order of the server. LIST_TOO_LONG past
// limits::kListItemsMax.
template <class Request, class Response, class Item>
base::Result<std::vector<Item>> all_pages(
    Client& client, base::Result<Response> (Client::*list)(const Request&), Request request,
    const google::protobuf::RepeatedPtrField<Item>& (Response::*items)() const) {
  std::vector<Item> all;
  request.set_page_size(limits::kPageSize);
  for (;;) {
    const Response page = TRY((client.*list)(request));
    for (const auto& item : (page.*items)()) all.push_back(item);
    if (page.next_page_token().empty()) return all;
    if (all.size() >= limits::kListItemsMax)
      return base::failed_precondition(
          "LIST_TOO_LONG",
          "the list has more items than the client takes; narrow it with a filter");
    request.set_page_token(page.next_page_token());
  }
}

} // namespace sonde
