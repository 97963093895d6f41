#include "controlplane/edge/api_methods.h"

#include "controlplane/identity/administration.h"
#include "controlplane/service/fleet.h"
#include "controlplane/service/policy.h"
#include "controlplane/service/sessions.h"

#include <google/protobuf/empty.pb.h>

namespace controlplane::edge {
namespace {

using namespace sonde::v1; // NOLINT(google-build-using-namespace): a table of its messages
using base::Result;
using google::protobuf::Empty;
using model::Caller;

// Events handed to a transport at a time.
constexpr size_t kEventsPerPollMax = 256;

template <class Request, class Response>
using UseCase = Result<Response> (*)(const Caller&, const Request&, service::Services&);

// A use case of controlplane/service; those that change something write the audit log themselves.
template <class Request, class Response>
void add(
    Dispatch& dispatch, service::Services& services, std::string_view method,
    UseCase<Request, Response> use_case) {
  dispatch.add<Request, Response>(
      method,
      [&services, use_case](const Caller& caller, const Request& request) {
        return use_case(caller, request, services);
      },
      AuditedBy::kUseCase);
}

void add_sessions(Dispatch& dispatch, service::Services& services) {
  add(dispatch, services, "sonde.v1.SessionService.CreateSession", &service::create_session);
  add(dispatch, services, "sonde.v1.SessionService.GetSession", &service::get_session);
  add(dispatch, services, "sonde.v1.SessionService.ListSessions", &service::list_sessions);
  add(dispatch, services, "sonde.v1.SessionService.UpdateSession", &service::update_session);
  add(dispatch, services, "sonde.v1.SessionService.DeleteSession", &service::delete_session);
  add(dispatch, services, "sonde.v1.SessionService.StopSession", &service::stop_session);
  add(dispatch, services, "sonde.v1.SessionService.CancelSession", &service::cancel_session);
  add(dispatch, services, "sonde.v1.SessionService.ExtendSession", &service::extend_session);
  add(dispatch, services, "sonde.v1.SessionService.ListSessionHosts", &service::list_session_hosts);
}

void add_policy(Dispatch& dispatch, service::Services& services) {
  add(dispatch, services, "sonde.v1.SamplingRuleService.CreateSamplingRule",
      &service::create_sampling_rule);
  add(dispatch, services, "sonde.v1.SamplingRuleService.GetSamplingRule",
      &service::get_sampling_rule);
  add(dispatch, services, "sonde.v1.SamplingRuleService.ListSamplingRules",
      &service::list_sampling_rules);
  add(dispatch, services, "sonde.v1.SamplingRuleService.UpdateSamplingRule",
      &service::update_sampling_rule);
  add(dispatch, services, "sonde.v1.SamplingRuleService.DeleteSamplingRule",
      &service::delete_sampling_rule);
  add(dispatch, services, "sonde.v1.OffsetTableService.CreateOffsetTable",
      &service::create_offset_table);
  add(dispatch, services, "sonde.v1.OffsetTableService.GetOffsetTable", &service::get_offset_table);
  add(dispatch, services, "sonde.v1.OffsetTableService.ListOffsetTables",
      &service::list_offset_tables);
  add(dispatch, services, "sonde.v1.OffsetTableService.DeleteOffsetTable",
      &service::delete_offset_table);
}

// An administrator's verb about one agent: drain, evict, ban.
template <class Request>
void add_agent_verb(
    Dispatch& dispatch, store::Pool& pool, std::string_view method,
    Result<Agent> (*verb)(const std::string&, store::Pool&)) {
  dispatch.add<Request, Agent>(method, [&pool, verb](const Caller&, const Request& request) {
    return verb(request.agent_id(), pool);
  });
}

void add_agents(Dispatch& dispatch, service::Services& services) {
  auto& pool = services.pool;
  dispatch.add<GetAgentRequest, Agent>(
      "sonde.v1.AgentService.GetAgent", [&pool](const Caller&, const GetAgentRequest& request) {
        return identity::get_agent(request.agent_id(), pool);
      });
  dispatch.add<ListAgentsRequest, ListAgentsResponse>(
      "sonde.v1.AgentService.ListAgents", [&pool](const Caller&, const ListAgentsRequest& request) {
        return identity::list_agents(request, pool);
      });
  dispatch.add<UpdateAgentRequest, Agent>(
      "sonde.v1.AgentService.UpdateAgent",
      [&pool](const Caller&, const UpdateAgentRequest& request) {
        return identity::update_agent(request, pool);
      });
  add_agent_verb<DrainAgentRequest>(
      dispatch, pool, "sonde.v1.AgentService.DrainAgent", &identity::drain_agent);
  add_agent_verb<EvictAgentRequest>(
      dispatch, pool, "sonde.v1.AgentService.EvictAgent", &identity::evict_agent);
  add_agent_verb<BanAgentRequest>(
      dispatch, pool, "sonde.v1.AgentService.BanAgent", &identity::ban_agent);
  add(dispatch, services, "sonde.v1.AgentService.ListProcesses", &service::list_processes);
}

void add_join_tokens(Dispatch& dispatch, store::Pool& pool, const identity::Authority& authority) {
  dispatch.add<CreateJoinTokenRequest, JoinToken>(
      "sonde.v1.JoinTokenService.CreateJoinToken",
      [&pool, &authority](const Caller& caller, const CreateJoinTokenRequest& request) {
        return identity::create_join_token(caller, request, authority, pool);
      });
  dispatch.add<ListJoinTokensRequest, ListJoinTokensResponse>(
      "sonde.v1.JoinTokenService.ListJoinTokens",
      [&pool](const Caller&, const ListJoinTokensRequest& request) {
        return identity::list_join_tokens(request, pool);
      });
  dispatch.add<DeleteJoinTokenRequest, Empty>(
      "sonde.v1.JoinTokenService.DeleteJoinToken",
      [&pool](const Caller&, const DeleteJoinTokenRequest& request) -> Result<Empty> {
        TRY(identity::delete_join_token(request.join_token_id(), pool));
        return Empty();
      });
}

class TailSource final : public StreamSource {
 public:
  explicit TailSource(std::shared_ptr<stitch::TailReader> reader) : reader_(std::move(reader)) {}
  Result<StreamBatch> poll() override {
    StreamBatch batch;
    while (batch.messages.size() < kEventsPerPollMax) {
      auto event = reader_->take();
      if (!event) break;
      batch.messages.push_back(std::make_unique<TailSessionResponse>(std::move(*event)));
    }
    batch.ended = reader_->ended();
    return batch;
  }

 private:
  std::shared_ptr<stitch::TailReader> reader_;
};

void add_results(Dispatch& dispatch, stitch::Results& results, stitch::Tail& tail) {
  dispatch.add<ListSpansRequest, ListSpansResponse>(
      "sonde.v1.ResultService.ListSpans",
      [&results](const Caller&, const ListSpansRequest& request) {
        return results.list_spans(request);
      });
  dispatch.add<ListTracesRequest, ListTracesResponse>(
      "sonde.v1.ResultService.ListTraces",
      [&results](const Caller&, const ListTracesRequest& request) {
        return results.list_traces(request);
      });
  dispatch.add<GetTraceRequest, Trace>(
      "sonde.v1.ResultService.GetTrace", [&results](const Caller&, const GetTraceRequest& request) {
        return results.get_trace(request);
      });
  dispatch.add_stream<TailSessionRequest, TailSessionResponse>(
      "sonde.v1.ResultService.TailSession",
      [&tail](const Caller&, const TailSessionRequest& request)
          -> Result<std::unique_ptr<StreamSource>> {
        // The transport polls, so nobody has to be woken.
        auto reader = TRY(tail.open(request, [] {}));
        return std::unique_ptr<StreamSource>(std::make_unique<TailSource>(std::move(reader)));
      });
}

} // namespace

Result<> add_api_methods(Dispatch& dispatch, UseCases use_cases) {
  add_sessions(dispatch, use_cases.services);
  add_policy(dispatch, use_cases.services);
  add_agents(dispatch, use_cases.services);
  add_join_tokens(dispatch, use_cases.services.pool, use_cases.authority);
  add_results(dispatch, use_cases.results, use_cases.tail);
  return dispatch.finish();
}

} // namespace controlplane::edge
