#include "sdk-clients/cli/ids.h"

#include <fmt/format.h>

#include <algorithm>

namespace cli {

namespace v1 = sonde::v1;
using base::Result;

namespace {

constexpr size_t kIdLength = 36;
constexpr size_t kTraceIdLength = 32;
constexpr size_t kNamedMax = 5;

template <class Items> std::vector<std::string> ids_of(const Items& items) {
  std::vector<std::string> ids;
  for (const auto& item : items) ids.push_back(item.id());
  return ids;
}

template <class ListAll>
Result<std::string> find_whole(const IdKind& kind, const std::string& typed, ListAll list_all) {
  if (typed.size() >= kIdLength && !typed.ends_with("…")) return typed;
  const auto all = TRY(list_all());
  return match_id(kind, typed, ids_of(all));
}

} // namespace

Result<std::string>
match_id(const IdKind& kind, std::string_view typed, const std::vector<std::string>& ids) {
  if (constexpr std::string_view kEllipsis = "…"; typed.ends_with(kEllipsis))
    typed.remove_suffix(kEllipsis.size());
  std::vector<std::string> matches;
  if (!typed.empty())
    for (const auto& id : ids)
      if (id.starts_with(typed)) matches.push_back(id);
  if (matches.size() == 1) return matches.front();
  if (matches.empty())
    return base::not_found(
        kind.not_found, fmt::format(
                            "no {} has the id \"{}\" or one that begins like it; `{}` shows them",
                            kind.what, typed, kind.list));
  const size_t left_out = matches.size() - std::min(matches.size(), kNamedMax);
  matches.resize(matches.size() - left_out);
  return base::invalid_argument(
      kind.ambiguous, fmt::format(
                          "\"{}\" may be {}{}", typed, fmt::join(matches, " or "),
                          left_out > 0 ? fmt::format(" or {} more", left_out) : ""));
}

Result<std::string> whole_session_id(Context& context, const std::string& typed) {
  return find_whole(kSessionId, typed, [&] {
    return sonde::all_pages(
        context.client, &sonde::Client::list_sessions, v1::ListSessionsRequest(),
        &v1::ListSessionsResponse::sessions);
  });
}

Result<std::string> whole_agent_id(Context& context, const std::string& typed) {
  return find_whole(kAgentId, typed, [&] {
    return sonde::all_pages(
        context.client, &sonde::Client::list_agents, v1::ListAgentsRequest(),
        &v1::ListAgentsResponse::agents);
  });
}

Result<std::string> whole_token_id(Context& context, const std::string& typed) {
  return find_whole(kTokenId, typed, [&] {
    return sonde::all_pages(
        context.client, &sonde::Client::list_join_tokens, v1::ListJoinTokensRequest(),
        &v1::ListJoinTokensResponse::join_tokens);
  });
}

Result<std::string> whole_rule_id(Context& context, const std::string& typed) {
  return find_whole(kRuleId, typed, [&] {
    return sonde::all_pages(
        context.client, &sonde::Client::list_sampling_rules, v1::ListSamplingRulesRequest(),
        &v1::ListSamplingRulesResponse::sampling_rules);
  });
}

Result<std::string> whole_offset_table_id(Context& context, const std::string& typed) {
  return find_whole(kOffsetTableId, typed, [&] {
    return sonde::all_pages(
        context.client, &sonde::Client::list_offset_tables, v1::ListOffsetTablesRequest(),
        &v1::ListOffsetTablesResponse::offset_tables);
  });
}

Result<std::string>
whole_trace_id(Context& context, const std::string& session_id, const std::string& typed) {
  if (typed.size() >= kTraceIdLength && !typed.ends_with("…")) return typed;
  v1::ListTracesRequest request;
  request.set_session_id(session_id);
  std::vector<std::string> ids;
  for (const auto& trace : TRY(sonde::all_pages(
           context.client, &sonde::Client::list_traces, std::move(request),
           &v1::ListTracesResponse::traces)))
    ids.push_back(trace.trace_id());
  return match_id(kTraceId, typed, ids);
}

} // namespace cli
