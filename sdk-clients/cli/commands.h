// What each subcommand does. Arguments are complete and typed; failures are Errors that main turns
// into a message and an exit code.
#pragma once

#include "base/result.h"
#include "sdk-clients/cli/exit_code.h"
#include "sdk-clients/cli/output.h"
#include "sdk-clients/cli/progress.h"
#include "sdk-clients/cli/render.h"
#include "sdk-clients/cli/table.h"
#include "sdk-clients/cpp/client.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

// Where a command acts: the server on one side, the reader on the other. One thread.
struct Context {
  sonde::Client& client;
  Format format = Format::kTable;
  Style style; // of standard output
  bool out_is_terminal = false;
  Progress& progress; // on standard error

  void print(std::string_view text) const;
  // For people who watch: to standard error, and not at all with -o json or yaml.
  void hint(std::string_view text) const;
  // From now on, Ctrl-C says that this session goes on and how to end it; like a hint.
  void watches(const std::string& session_id) const;
};

Now now();

using Outcome = base::Result<ExitCode>;

struct ListArguments {
  std::string filter;
  std::string agent_id; // processes only
};
Outcome list_agents(Context& context, const ListArguments& arguments);
Outcome show_agent(Context& context, const std::string& id);
enum class AgentAction { kDrain, kEvict, kBan };
Outcome act_on_agent(Context& context, AgentAction action, const std::string& id);
Outcome list_processes(Context& context, const ListArguments& arguments);

struct RunArguments {
  std::string file; // a session in YAML or JSON; flags below win over it
  std::string display_name;
  std::vector<std::string> probes;
  std::vector<std::string> hosts; // label selectors, all of them
  std::optional<std::string> service;
  std::optional<std::string> executable;
  std::vector<uint32_t> pids;
  std::vector<std::string> agent_ids;
  int max_hosts = 0;
  std::string ttl;
  std::optional<double> ratio;
  int spans_per_second = 0;
  std::string keep_slower_than;
  bool keep_errors = false;
  std::optional<double> cpu_fraction;
  bool no_store = false;
  std::vector<std::string> otlp;
  bool dry_run = false;
  bool no_wait = false;
  std::string wait; // how long for its probes
};
// The session that the arguments ask for; pure but for the file, which is read before.
base::Result<sonde::v1::Session>
make_session(const RunArguments& arguments, const std::string& file_text);
Outcome run_session(Context& context, const RunArguments& arguments);
Outcome list_sessions(Context& context, const ListArguments& arguments);
Outcome show_session(Context& context, const std::string& id);
Outcome session_status(Context& context, const std::string& id, bool watch);
enum class SessionAction { kStop, kCancel, kDelete };
Outcome act_on_session(Context& context, SessionAction action, const std::string& id);
Outcome extend_session(Context& context, const std::string& id, const std::string& ttl);

struct TailArguments {
  std::string session_id;
  uint64_t spans_max = 0; // ends after so many; 0 is never
};
Outcome tail(Context& context, const TailArguments& arguments);
Outcome list_traces(Context& context, const std::string& session_id);
// An empty trace id shows the newest trace of the session.
Outcome show_trace(Context& context, const std::string& session_id, std::string trace_id);
Outcome list_spans(Context& context, const std::string& session_id, const std::string& filter);

struct TokenArguments {
  std::vector<std::string> labels;
  std::string ttl;
};
Outcome create_token(Context& context, const TokenArguments& arguments);
Outcome list_tokens(Context& context);
Outcome delete_token(Context& context, const std::string& id);

Outcome list_rules(Context& context);
// Creates what is new and updates what has the same displayName; `diff` only shows what would
// change.
Outcome apply_rules(Context& context, const std::string& file, bool diff);
Outcome delete_rule(Context& context, const std::string& id);
Outcome list_offset_tables(Context& context);
Outcome show_offset_table(Context& context, const std::string& id);

} // namespace cli
