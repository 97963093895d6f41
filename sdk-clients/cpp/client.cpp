#include "sdk-clients/cpp/client.h"

#include "base/hex.h"
#include "sdk-clients/cpp/status.h"

#include <grpcpp/grpcpp.h>
#include <sonde/v1/agent_service.grpc.pb.h>
#include <sonde/v1/join_token_service.grpc.pb.h>
#include <sonde/v1/offset_table_service.grpc.pb.h>
#include <sonde/v1/result_service.grpc.pb.h>
#include <sonde/v1/sampling_rule_service.grpc.pb.h>
#include <sonde/v1/session_service.grpc.pb.h>

#include <thread>

namespace sonde {

using base::Result;

namespace {

std::shared_ptr<grpc::Channel> make_channel(const ClientConfig& config) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = config.authorities;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(limits::kMessageBytesMax);
  // A proxy variable of the environment is not meant for the control plane's port.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A refused connection is tried again with every call, not a second later.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // In spite of its name this is how long one attempt to connect may take, TLS included.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, limits::kConnectTimeout.count());
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetUserAgentPrefix("sonde-cpp");
  return grpc::CreateCustomChannel(config.server, grpc::SslCredentials(tls), arguments);
}

// Waits a little longer with every try: 100, 200, 400 ms.
void wait_before(int attempt) {
  if (attempt > 0) std::this_thread::sleep_for(limits::kFirstRetryDelay * (1 << (attempt - 1)));
}

} // namespace

struct Client::Stubs {
  Stubs(ClientConfig with, const std::shared_ptr<grpc::Channel>& channel)
      : config(std::move(with)), agents(channel), join_tokens(channel), offset_tables(channel),
        results(channel), sampling_rules(channel), sessions(channel) {}

  void authorize(grpc::ClientContext& context) const {
    context.AddMetadata("authorization", "Bearer " + config.token);
  }

  base::Error error_from(const grpc::Status& status) const {
    return error_from_status(status, config.server, config.ca_file);
  }

  template <class Stub, class Request, class Response>
  Result<Response> call(
      Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
      const Request& request) {
    base::Error error;
    for (int attempt = 0; attempt < limits::kCallAttempts; ++attempt) {
      wait_before(attempt);
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + config.timeout);
      authorize(context);
      Response response;
      const auto status = (stub.*method)(&context, request, &response);
      if (status.ok()) return response;
      error = error_from(status);
      if (!is_transient(error)) break;
    }
    return error;
  }

  ClientConfig config;
  v1::AgentService::Stub agents;
  v1::JoinTokenService::Stub join_tokens;
  v1::OffsetTableService::Stub offset_tables;
  v1::ResultService::Stub results;
  v1::SamplingRuleService::Stub sampling_rules;
  v1::SessionService::Stub sessions;
};

Client::Client(ClientConfig config) {
  const auto channel = make_channel(config);
  stubs_ = std::make_unique<Stubs>(std::move(config), channel);
}
Client::Client(ClientConfig config, const std::shared_ptr<grpc::Channel>& channel)
    : stubs_(std::make_unique<Stubs>(std::move(config), channel)) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;

namespace {

template <class Request> Request with_request_id(Request request) {
  if (request.request_id().empty()) request.set_request_id(base::new_uuid());
  return request;
}

} // namespace

// Sessions

Result<v1::Session> Client::create_session(v1::CreateSessionRequest request) {
  return stubs_->call(
      stubs_->sessions, &v1::SessionService::Stub::CreateSession,
      with_request_id(std::move(request)));
}
Result<v1::Session> Client::get_session(const std::string& id) {
  v1::GetSessionRequest request;
  request.set_session_id(id);
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::GetSession, request);
}
Result<v1::ListSessionsResponse> Client::list_sessions(const v1::ListSessionsRequest& request) {
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::ListSessions, request);
}
Result<v1::Session> Client::update_session(const v1::UpdateSessionRequest& request) {
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::UpdateSession, request);
}
Result<google::protobuf::Empty> Client::delete_session(const std::string& id) {
  v1::DeleteSessionRequest request;
  request.set_session_id(id);
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::DeleteSession, request);
}
Result<v1::Session> Client::stop_session(const std::string& id) {
  v1::StopSessionRequest request;
  request.set_session_id(id);
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::StopSession, request);
}
Result<v1::Session> Client::cancel_session(const std::string& id) {
  v1::CancelSessionRequest request;
  request.set_session_id(id);
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::CancelSession, request);
}
Result<v1::Session> Client::extend_session(const v1::ExtendSessionRequest& request) {
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::ExtendSession, request);
}
Result<v1::ListSessionHostsResponse>
Client::list_session_hosts(const v1::ListSessionHostsRequest& request) {
  return stubs_->call(stubs_->sessions, &v1::SessionService::Stub::ListSessionHosts, request);
}

// Results

Result<v1::ListSpansResponse> Client::list_spans(const v1::ListSpansRequest& request) {
  return stubs_->call(stubs_->results, &v1::ResultService::Stub::ListSpans, request);
}
Result<v1::ListTracesResponse> Client::list_traces(const v1::ListTracesRequest& request) {
  return stubs_->call(stubs_->results, &v1::ResultService::Stub::ListTraces, request);
}
Result<v1::Trace> Client::get_trace(const std::string& session_id, const std::string& trace_id) {
  v1::GetTraceRequest request;
  request.set_session_id(session_id);
  request.set_trace_id(trace_id);
  return stubs_->call(stubs_->results, &v1::ResultService::Stub::GetTrace, request);
}

Result<void> Client::tail_session(
    const std::string& session_id,
    const std::function<bool(const v1::TailSessionResponse&)>& event) {
  v1::TailSessionRequest request;
  request.set_session_id(session_id);
  for (int attempt = 0; attempt < limits::kCallAttempts; ++attempt) {
    wait_before(attempt);
    grpc::ClientContext context;
    stubs_->authorize(context);
    auto stream = stubs_->results.TailSession(&context, request);
    v1::TailSessionResponse response;
    while (stream->Read(&response)) {
      attempt = 0;
      request.set_after_event_id(response.event_id());
      if (event(response)) continue;
      context.TryCancel();
      while (stream->Read(&response)) continue;
      static_cast<void>(stream->Finish());
      return {};
    }
    const auto status = stream->Finish();
    if (status.ok()) return {};
    auto error = stubs_->error_from(status);
    if (!is_transient(error) || attempt + 1 == limits::kCallAttempts) return error;
  }
  return {};
}

// Agents and processes

Result<v1::Agent> Client::get_agent(const std::string& id) {
  v1::GetAgentRequest request;
  request.set_agent_id(id);
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::GetAgent, request);
}
Result<v1::ListAgentsResponse> Client::list_agents(const v1::ListAgentsRequest& request) {
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::ListAgents, request);
}
Result<v1::Agent> Client::update_agent(const v1::UpdateAgentRequest& request) {
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::UpdateAgent, request);
}
Result<v1::Agent> Client::drain_agent(const std::string& id) {
  v1::DrainAgentRequest request;
  request.set_agent_id(id);
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::DrainAgent, request);
}
Result<v1::Agent> Client::evict_agent(const std::string& id) {
  v1::EvictAgentRequest request;
  request.set_agent_id(id);
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::EvictAgent, request);
}
Result<v1::Agent> Client::ban_agent(const std::string& id) {
  v1::BanAgentRequest request;
  request.set_agent_id(id);
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::BanAgent, request);
}
Result<v1::ListProcessesResponse> Client::list_processes(const v1::ListProcessesRequest& request) {
  return stubs_->call(stubs_->agents, &v1::AgentService::Stub::ListProcesses, request);
}

// Join tokens

Result<v1::JoinToken> Client::create_join_token(v1::CreateJoinTokenRequest request) {
  return stubs_->call(
      stubs_->join_tokens, &v1::JoinTokenService::Stub::CreateJoinToken,
      with_request_id(std::move(request)));
}
Result<v1::ListJoinTokensResponse>
Client::list_join_tokens(const v1::ListJoinTokensRequest& request) {
  return stubs_->call(stubs_->join_tokens, &v1::JoinTokenService::Stub::ListJoinTokens, request);
}
Result<google::protobuf::Empty> Client::delete_join_token(const std::string& id) {
  v1::DeleteJoinTokenRequest request;
  request.set_join_token_id(id);
  return stubs_->call(stubs_->join_tokens, &v1::JoinTokenService::Stub::DeleteJoinToken, request);
}

// Sampling rules and offset tables

Result<v1::SamplingRule> Client::create_sampling_rule(v1::CreateSamplingRuleRequest request) {
  return stubs_->call(
      stubs_->sampling_rules, &v1::SamplingRuleService::Stub::CreateSamplingRule,
      with_request_id(std::move(request)));
}
Result<v1::SamplingRule> Client::get_sampling_rule(const std::string& id) {
  v1::GetSamplingRuleRequest request;
  request.set_sampling_rule_id(id);
  return stubs_->call(
      stubs_->sampling_rules, &v1::SamplingRuleService::Stub::GetSamplingRule, request);
}
Result<v1::ListSamplingRulesResponse>
Client::list_sampling_rules(const v1::ListSamplingRulesRequest& request) {
  return stubs_->call(
      stubs_->sampling_rules, &v1::SamplingRuleService::Stub::ListSamplingRules, request);
}
Result<v1::SamplingRule>
Client::update_sampling_rule(const v1::UpdateSamplingRuleRequest& request) {
  return stubs_->call(
      stubs_->sampling_rules, &v1::SamplingRuleService::Stub::UpdateSamplingRule, request);
}
Result<google::protobuf::Empty> Client::delete_sampling_rule(const std::string& id) {
  v1::DeleteSamplingRuleRequest request;
  request.set_sampling_rule_id(id);
  return stubs_->call(
      stubs_->sampling_rules, &v1::SamplingRuleService::Stub::DeleteSamplingRule, request);
}
Result<v1::OffsetTable> Client::get_offset_table(const std::string& id) {
  v1::GetOffsetTableRequest request;
  request.set_offset_table_id(id);
  return stubs_->call(
      stubs_->offset_tables, &v1::OffsetTableService::Stub::GetOffsetTable, request);
}
Result<v1::ListOffsetTablesResponse>
Client::list_offset_tables(const v1::ListOffsetTablesRequest& request) {
  return stubs_->call(
      stubs_->offset_tables, &v1::OffsetTableService::Stub::ListOffsetTables, request);
}

} // namespace sonde
