// Agents, processes, join tokens.
#include "sdk-clients/cli/commands.h"
#include "sdk-clients/cli/ids.h"
#include "sdk-clients/cli/text.h"

#include <fmt/format.h>

#include <cstdio>

namespace cli {

namespace v1 = sonde::v1;

void Context::print(std::string_view text) const {
  progress.clear();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void Context::hint(std::string_view text) const {
  if (format != Format::kTable) return;
  progress.clear();
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void Context::watches(const std::string& session_id) const {
  if (format != Format::kTable) return;
  set_parting_words(fmt::format(
      "the session goes on until its time is over; `sonde session stop {}` ends it now\n",
      session_id));
}

Now now() { return std::chrono::system_clock::now().time_since_epoch(); }

Outcome list_agents(Context& context, const ListArguments& arguments) {
  v1::ListAgentsRequest request;
  request.set_filter(arguments.filter);
  const auto agents = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_agents, request, &v1::ListAgentsResponse::agents));
  if (context.format == Format::kTable) {
    context.print(render_agents(agents, now(), context.style));
    return kSuccess;
  }
  v1::ListAgentsResponse all;
  all.mutable_agents()->Assign(agents.begin(), agents.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

namespace {

Outcome print_agent(Context& context, const v1::Agent& agent) {
  context.print(
      context.format == Format::kTable ? render_agents({agent}, now(), context.style)
                                       : format_message(agent, context.format));
  return kSuccess;
}

} // namespace

Outcome show_agent(Context& context, const std::string& typed) {
  const auto id = TRY(whole_agent_id(context, typed));
  const auto agent = TRY(context.client.get_agent(id));
  TRY(print_agent(context, agent));
  if (context.format != Format::kTable) return kSuccess;
  for (const auto& limitation : agent.limitations())
    context.print("  limitation: " + fit(limitation, 200) + "\n");
  if (const auto losses = render_losses(agent.health().losses()); !losses.empty())
    context.print("  " + losses + "\n");
  return kSuccess;
}

Outcome act_on_agent(Context& context, AgentAction action, const std::string& typed) {
  const auto id = TRY(whole_agent_id(context, typed));
  switch (action) {
  case AgentAction::kDrain:
    return print_agent(context, TRY(context.client.drain_agent(id)));
  case AgentAction::kEvict:
    return print_agent(context, TRY(context.client.evict_agent(id)));
  case AgentAction::kBan:
    return print_agent(context, TRY(context.client.ban_agent(id)));
  }
  return kFailure;
}

Outcome list_processes(Context& context, const ListArguments& arguments) {
  v1::ListProcessesRequest request;
  request.set_filter(arguments.filter);
  if (!arguments.agent_id.empty())
    request.set_agent_id(TRY(whole_agent_id(context, arguments.agent_id)));
  const auto processes = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_processes, request,
      &v1::ListProcessesResponse::processes));
  if (context.format == Format::kTable) {
    context.print(render_processes(processes, now(), context.style));
    return kSuccess;
  }
  v1::ListProcessesResponse all;
  all.mutable_processes()->Assign(processes.begin(), processes.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome create_token(Context& context, const TokenArguments& arguments) {
  v1::CreateJoinTokenRequest request;
  auto& token = *request.mutable_join_token();
  for (const auto& label : arguments.labels) {
    const auto equals = label.find('=');
    if (equals == 0 || equals == label.npos)
      return base::invalid_argument(
          "USAGE", fmt::format("\"{}\" is no label; write key=value", label));
    (*token.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  if (!arguments.ttl.empty()) *token.mutable_ttl() = to_proto(TRY(parse_duration(arguments.ttl)));
  const auto created = TRY(context.client.create_join_token(std::move(request)));
  if (context.format != Format::kTable) {
    context.print(format_message(created, context.format));
    return kSuccess;
  }
  // Alone on standard output, so that `sonde token create > token` makes a token file.
  context.print(created.token() + "\n");
  context.hint(fmt::format(
      "Good for one agent, expires {}. On the host: sonde-agent --join-token-file FILE …\n",
      format_age(created.expire_time(), now())));
  return kSuccess;
}

Outcome list_tokens(Context& context) {
  const auto tokens = TRY(sonde::all_pages(
      context.client, &sonde::Client::list_join_tokens, v1::ListJoinTokensRequest(),
      &v1::ListJoinTokensResponse::join_tokens));
  if (context.format == Format::kTable) {
    context.print(render_tokens(tokens, now(), context.style));
    return kSuccess;
  }
  v1::ListJoinTokensResponse all;
  all.mutable_join_tokens()->Assign(tokens.begin(), tokens.end());
  context.print(format_message(all, context.format));
  return kSuccess;
}

Outcome delete_token(Context& context, const std::string& typed) {
  const auto id = TRY(whole_token_id(context, typed));
  TRY(context.client.delete_join_token(id));
  context.hint("deleted\n");
  return kSuccess;
}

} // namespace cli
