// Ids as people type them: the beginning is enough when it is the only one that begins so, as with
// commits.
#pragma once

#include "sdk-clients/cli/commands.h"

#include <string>
#include <string_view>
#include <vector>

namespace cli {

// What an id is of, in messages.
struct IdKind {
  std::string_view what; // "session"
  std::string_view list; // the command that shows them
  std::string_view not_found;
  std::string_view ambiguous;
};
inline constexpr IdKind kSessionId{
    "session", "sonde session list", "SESSION_NOT_FOUND", "SESSION_AMBIGUOUS"};
inline constexpr IdKind kAgentId{"agent", "sonde agents", "AGENT_NOT_FOUND", "AGENT_AMBIGUOUS"};
inline constexpr IdKind kTokenId{
    "join token", "sonde token list", "JOIN_TOKEN_NOT_FOUND", "JOIN_TOKEN_AMBIGUOUS"};
inline constexpr IdKind kRuleId{
    "sampling rule", "sonde rules list", "SAMPLING_RULE_NOT_FOUND", "SAMPLING_RULE_AMBIGUOUS"};
inline constexpr IdKind kOffsetTableId{
    "offset table", "sonde offsets list", "OFFSET_TABLE_NOT_FOUND", "OFFSET_TABLE_AMBIGUOUS"};
inline constexpr IdKind kTraceId{
    "trace", "sonde trace SESSION", "TRACE_NOT_FOUND", "TRACE_AMBIGUOUS"};

// The one of `ids` that begins with `typed`, in which an ellipsis at the end, from a narrow table,
// is ignored. …_NOT_FOUND, or …_AMBIGUOUS, which names those that match. Pure.
base::Result<std::string>
match_id(const IdKind& kind, std::string_view typed, const std::vector<std::string>& ids);

// A whole id is taken as it is; for a shorter one the list is read.
base::Result<std::string> whole_session_id(Context& context, const std::string& typed);
base::Result<std::string> whole_agent_id(Context& context, const std::string& typed);
base::Result<std::string> whole_token_id(Context& context, const std::string& typed);
base::Result<std::string> whole_rule_id(Context& context, const std::string& typed);
base::Result<std::string> whole_offset_table_id(Context& context, const std::string& typed);
base::Result<std::string>
whole_trace_id(Context& context, const std::string& session_id, const std::string& typed);

} // namespace cli
