#include "sdk-clients/cli/command_line.h"

#include "sdk-clients/cli/completion.h"
#include "sdk-clients/cli/help.h"
#include "sdk-clients/cli/text.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace cli {
namespace {

// Everything that flags and positional words are read into.
struct Values {
  GlobalOptions global;
  std::string output = "table";
  std::string timeout;
  std::string server, token_file, ca;
  ListArguments list;
  RunArguments run;
  TailArguments tail;
  TokenArguments token;
  std::string id, second_id, file, shell;
  bool watch = false, diff = false, latest = false;
};

// The commands and where their words go. Lives for one parse.
class CommandLine {
 public:
  CommandLine() {
    app_.fallthrough();
    app_.require_subcommand(1);
    app_.failure_message(
        [](const CLI::App*, const CLI::Error& error) { return std::string(error.what()); });
    app_.footer(help_epilog(""));
    app_.set_version_flag("--version", "sonde " SONDE_VERSION);
    add_global_options();
    add_fleet();
    add_sessions();
    add_results();
    add_policy();
    add_completion();
  }

  std::variant<Invocation, Answer> parse(const std::vector<std::string>& arguments);

 private:
  using Command = std::function<Outcome(Context&)>;

  CLI::App*
  add(CLI::App* parent, const std::string& name, const std::string& what, Command command) {
    auto* sub = parent->add_subcommand(name, what);
    // Not the parent's, which CLI11 hands down.
    sub->footer(help_epilog(parent == &app_ ? name : parent->get_name() + " " + name));
    sub->callback([this, sub, command = std::move(command)] {
      if (sub->get_subcommands().empty()) command_ = command;
    });
    return sub;
  }
  // A word that only leads to commands.
  CLI::App* add_group(const std::string& name, const std::string& what) {
    auto* group = app_.add_subcommand(name, what);
    group->footer(help_epilog(name));
    group->require_subcommand(1);
    return group;
  }
  void add_id(CLI::App* sub, const std::string& name, const std::string& what) {
    sub->add_option(name, values_.id, what)->required()->type_name("");
  }

  void add_global_options();
  void add_fleet();
  void add_sessions();
  void add_session_run(CLI::App* session);
  void add_results();
  void add_policy();
  void add_completion();
  std::vector<CommandWords> words() const;
  Answer complain(const std::string& what, const std::vector<std::string>& arguments) const;
  base::Result<void> finish();

  CLI::App app_{"Traces fleets of Go services on demand, without touching their code.", "sonde"};
  Values values_;
  Command command_;
  bool completion_wanted_ = false;
};

void CommandLine::add_global_options() {
  constexpr const char* kGlobal = "Global options (may stand anywhere)";
  app_.add_option("-s,--server", values_.server, "gRPC address of the control plane")
      ->type_name("HOST:PORT")
      ->group(kGlobal);
  app_.add_option("--token-file", values_.token_file, "file with the API token")
      ->type_name("FILE")
      ->group(kGlobal);
  app_.add_option("--ca", values_.ca, "certificates that may sign the server's, PEM")
      ->type_name("FILE")
      ->group(kGlobal);
  app_.add_option("--config", values_.global.config_file, "instead of ~/.config/sonde/config.yaml")
      ->type_name("FILE")
      ->group(kGlobal);
  app_.add_option("--timeout", values_.timeout, "for one call, 15s if not given")
      ->type_name("TIME")
      ->group(kGlobal);
  app_.add_option("-o,--output", values_.output, "table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->type_name("FORMAT")
      ->group(kGlobal);
}

void CommandLine::add_fleet() {
  auto* agents = add(&app_, "agents", "the hosts of the fleet", [this](Context& c) {
    return list_agents(c, values_.list);
  });
  agents->add_option("--filter", values_.list.filter, "e.g. 'state = \"ONLINE\"'")
      ->type_name("FILTER");
  const auto with_id = [&](const char* name, const char* what, Command command) {
    add_id(
        add(agents, name, what, std::move(command)), "AGENT", "its id, as `sonde agents` shows it");
  };
  add(agents, "list", "all of them", [this](Context& c) { return list_agents(c, values_.list); });
  with_id("get", "one of them", [this](Context& c) { return show_agent(c, values_.id); });
  with_id("drain", "give it no new sessions", [this](Context& c) {
    return act_on_agent(c, AgentAction::kDrain, values_.id);
  });
  with_id("evict", "void its certificate; it may enroll again", [this](Context& c) {
    return act_on_agent(c, AgentAction::kEvict, values_.id);
  });
  with_id("ban", "void its certificate for good", [this](Context& c) {
    return act_on_agent(c, AgentAction::kBan, values_.id);
  });

  auto* processes = add(&app_, "processes", "the Go programs on the hosts", [this](Context& c) {
    return list_processes(c, values_.list);
  });
  processes->add_option("--agent", values_.list.agent_id, "only on this one")->type_name("AGENT");
  processes->add_option("--filter", values_.list.filter, "e.g. 'service = \"checkout\"'")
      ->type_name("FILTER");

  auto* token = add_group("token", "join tokens, with which hosts enroll");
  auto* create = add(token, "create", "make one and print it", [this](Context& c) {
    return create_token(c, values_.token);
  });
  create->add_option("--ttl", values_.token.ttl, "good for so long, 10m if not given")
      ->type_name("TIME");
  create
      ->add_option("-l,--label", values_.token.labels, "label that the agent gets; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  add(token, "list", "all of them, without the secrets", [](Context& c) { return list_tokens(c); });
  add_id(
      add(token, "delete", "so that nobody can use it",
          [this](Context& c) { return delete_token(c, values_.id); }),
      "TOKEN", "its id");
}

void CommandLine::add_sessions() {
  auto* session = add_group("session", "tracing sessions: run, watch, end");
  add_session_run(session);
  add(session, "list", "all of them", [this](Context& c) { return list_sessions(c, values_.list); })
      ->add_option("--filter", values_.list.filter, "e.g. 'state = \"ACTIVE\"'")
      ->type_name("FILTER");
  const auto with_id = [&](const char* name, const char* what, Command command) {
    auto* sub = add(session, name, what, std::move(command));
    add_id(sub, "SESSION", "its id");
    return sub;
  };
  with_id("get", "what it is", [this](Context& c) { return show_session(c, values_.id); });
  with_id("status", "how far it got on every host", [this](Context& c) {
    return session_status(c, values_.id, values_.watch);
  })->add_flag("-w,--watch", values_.watch, "until it ends");
  with_id("stop", "end it, keep its results", [this](Context& c) {
    return act_on_session(c, SessionAction::kStop, values_.id);
  });
  with_id("cancel", "end it at once, drop what is on its way", [this](Context& c) {
    return act_on_session(c, SessionAction::kCancel, values_.id);
  });
  with_id("delete", "forget it and its results", [this](Context& c) {
    return act_on_session(c, SessionAction::kDelete, values_.id);
  });
  with_id(
      "extend", "give it more time, from now",
      [this](Context& c) { return extend_session(c, values_.id, values_.run.ttl); })
      ->add_option("--ttl", values_.run.ttl, "so much")
      ->required()
      ->type_name("TIME");
}

void CommandLine::add_session_run(CLI::App* session) {
  auto& run = values_.run;
  auto* sub = add(session, "run", "start one and wait for its probes", [this](Context& c) {
    return run_session(c, values_.run);
  });
  constexpr const char* kWhat = "What";
  constexpr const char* kWhere = "Where (everything given must match)";
  constexpr const char* kMuch = "How much";
  constexpr const char* kThen = "And then";
  sub->add_option(
         "-f,--file", run.file,
         "a session in YAML or JSON, - for standard input; flags win over it")
      ->type_name("FILE")
      ->group(kWhat);
  sub->add_option("-p,--probe", run.probes, "http, http:server, http:client; may be repeated")
      ->type_name("PROBE")
      ->allow_extra_args(false)
      ->group(kWhat);
  sub->add_option("--name", run.display_name, "for people")->type_name("TEXT")->group(kWhat);
  sub->add_option("-l,--hosts", run.hosts, "labels of the hosts, e.g. env=prod; '*' is every host")
      ->type_name("LABELS")
      ->allow_extra_args(false)
      ->group(kWhere);
  sub->add_option("--service", run.service, "service name, or a glob")
      ->type_name("NAME")
      ->group(kWhere);
  sub->add_option("--executable", run.executable, "path, or a glob such as '/app/*'")
      ->type_name("PATH")
      ->group(kWhere);
  sub->add_option("--pid", run.pids, "only this process; may be repeated")
      ->type_name("PID")
      ->allow_extra_args(false)
      ->group(kWhere);
  sub->add_option("--agent", run.agent_ids, "only this agent; may be repeated")
      ->type_name("AGENT")
      ->allow_extra_args(false)
      ->group(kWhere);
  sub->add_option("--max-hosts", run.max_hosts, "no more than so many")
      ->type_name("N")
      ->group(kWhere);
  sub->add_option("--ttl", run.ttl, "ends by itself after, 5m if not given")
      ->type_name("TIME")
      ->group(kMuch);
  sub->add_option("--ratio", run.ratio, "share of the requests, 0 to 1")
      ->type_name("RATIO")
      ->group(kMuch);
  sub->add_option("--rate", run.spans_per_second, "requests a second and process at most")
      ->type_name("N")
      ->group(kMuch);
  sub->add_option("--slower-than", run.keep_slower_than, "keep all that take longer")
      ->type_name("TIME")
      ->group(kMuch);
  sub->add_flag("--errors", run.keep_errors, "keep all that fail")->group(kMuch);
  sub->add_option("--cpu", run.cpu_fraction, "share of one CPU it may cost on a host, 0 to 1")
      ->type_name("SHARE")
      ->group(kMuch);
  sub->add_flag("--no-store", run.no_store, "keep no spans in the control plane, only export them")
      ->group(kThen);
  sub->add_option("--otlp", run.otlp, "export to this destination; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->group(kThen);
  sub->add_flag("--dry-run", run.dry_run, "start nothing, tell what matches")->group(kThen);
  sub->add_flag("--no-wait", run.no_wait, "do not wait for its probes")->group(kThen);
  sub->add_option("--wait", run.wait, "for its probes, 30s if not given")
      ->type_name("TIME")
      ->group(kThen);
}

void CommandLine::add_results() {
  auto* tail_sub = add(&app_, "tail", "spans of a session as they arrive", [this](Context& c) {
    return tail(c, values_.tail);
  });
  tail_sub->add_option("SESSION", values_.tail.session_id, "its id")->required()->type_name("");
  tail_sub->add_option("-n,--spans", values_.tail.spans_max, "end after so many")->type_name("N");

  auto* trace =
      add(&app_, "trace", "traces of a session; one as a tree of spans", [this](Context& c) {
        if (values_.second_id.empty() && !values_.latest) return list_traces(c, values_.id);
        return show_trace(c, values_.id, values_.second_id);
      });
  add_id(trace, "SESSION", "its id");
  trace->add_option("TRACE", values_.second_id, "which trace; without it the list of all")
      ->type_name("");
  trace->add_flag("--latest", values_.latest, "the newest trace");

  auto* spans = add(&app_, "spans", "spans of a session, a line each", [this](Context& c) {
    return list_spans(c, values_.id, values_.list.filter);
  });
  add_id(spans, "SESSION", "its id");
  spans
      ->add_option(
          "--filter", values_.list.filter, "e.g. 'kind = \"SERVER\" AND duration > \"0.1s\"'")
      ->type_name("FILTER");
}

void CommandLine::add_policy() {
  auto* rules = add_group("rules", "sampling rules: what every session may keep at most");
  add(rules, "list", "all of them", [](Context& c) { return list_rules(c); });
  auto* apply = add(rules, "apply", "make the rules of a file hold", [this](Context& c) {
    return apply_rules(c, values_.file, values_.diff);
  });
  apply->add_option("-f,--file", values_.file, "rules in YAML or JSON, - for standard input")
      ->required()
      ->type_name("FILE");
  apply->add_flag("--diff", values_.diff, "change nothing, show what would change");
  add_id(
      add(rules, "delete", "remove one", [this](Context& c) { return delete_rule(c, values_.id); }),
      "RULE", "its id");

  auto* offsets = add_group("offsets", "struct layouts that the fleet has learned");
  add(offsets, "list", "all tables", [](Context& c) { return list_offset_tables(c); });
  add_id(
      add(offsets, "get", "one table with its fields",
          [this](Context& c) { return show_offset_table(c, values_.id); }),
      "TABLE", "its id");
}

void CommandLine::add_completion() {
  auto* sub = app_.add_subcommand("completion", "a completion script for your shell");
  sub->footer(help_epilog("completion"));
  sub->add_option("SHELL", values_.shell, "bash, zsh or fish")->required()->type_name("");
  sub->callback([this] { completion_wanted_ = true; });
}

void collect_options(const CLI::App& app, std::vector<std::string>& words) {
  for (const auto* option : app.get_options())
    for (const auto& name : option->get_lnames()) words.push_back("--" + name);
}

void collect_words(
    const CLI::App& app, const std::vector<std::string>& path,
    std::vector<CommandWords>& commands) {
  CommandWords command{path, {}};
  const auto named =
      app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
  for (const auto* sub : named) command.words.push_back(sub->get_name());
  collect_options(app, command.words);
  commands.push_back(std::move(command));
  for (const auto* sub : named) {
    auto longer = path;
    longer.push_back(sub->get_name());
    collect_words(*sub, longer, commands);
  }
}

std::vector<CommandWords> CommandLine::words() const {
  std::vector<CommandWords> commands;
  collect_words(app_, {}, commands);
  return commands;
}

// What was said, what was probably meant, and where it is written.
Answer
CommandLine::complain(const std::string& what, const std::vector<std::string>& arguments) const {
  const auto commands = words();
  std::vector<std::string> path;
  std::string unknown;
  const auto words_at = [&](const std::vector<std::string>& at) {
    for (const auto& command : commands)
      if (command.path == at) return command.words;
    return std::vector<std::string>();
  };
  auto known = words_at({});
  const auto global = known;
  for (const auto& argument : arguments) {
    const auto word = argument.substr(0, argument.find('='));
    const bool option = word.starts_with("--");
    if (option || path.empty() || std::any_of(known.begin(), known.end(), [](const auto& k) {
          return !k.starts_with("-");
        })) {
      const bool is_known = std::find(known.begin(), known.end(), word) != known.end() ||
                            std::find(global.begin(), global.end(), word) != global.end();
      if (!is_known && (option || !word.starts_with("-"))) {
        unknown = word;
        break;
      }
      if (!option && std::find(known.begin(), known.end(), word) != known.end()) {
        path.push_back(word);
        known = words_at(path);
      }
    }
  }
  auto candidates = known;
  if (unknown.starts_with("-")) candidates.insert(candidates.end(), global.begin(), global.end());
  const auto meant = unknown.empty() ? "" : nearest(unknown, candidates);
  const auto command = fmt::format("sonde{}{}", path.empty() ? "" : " ", fmt::join(path, " "));
  std::vector<std::string> commands_here;
  for (const auto& word : known)
    if (!word.starts_with("-")) commands_here.push_back(word);
  // CLI11's words for a group without a command.
  const bool incomplete = meant.empty() && what == "A subcommand is required";
  std::string text = fmt::format(
      "sonde: {}\n",
      incomplete      ? fmt::format("which command? There are {}", fmt::join(commands_here, ", "))
      : meant.empty() ? what
                      : fmt::format("there is no {} in `{}`", unknown, command));
  if (!meant.empty()) text += fmt::format("  did you mean {}?\n", meant);
  text += fmt::format("  `{} --help` tells more\n", command);
  return {"", text, kUsage};
}

base::Result<void> CommandLine::finish() {
  const auto given = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  auto& global = values_.global;
  global.source.server = given(values_.server);
  global.source.token_file = given(values_.token_file);
  global.source.ca_file = given(values_.ca);
  global.format = values_.output == "json"   ? Format::kJson
                  : values_.output == "yaml" ? Format::kYaml
                                             : Format::kTable;
  if (!values_.timeout.empty()) global.timeout = TRY(parse_duration(values_.timeout));
  return {};
}

std::variant<Invocation, Answer> CommandLine::parse(const std::vector<std::string>& arguments) {
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app_.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const CLI::App* deepest = &app_;
    std::string before;
    for (; !deepest->get_subcommands().empty(); deepest = deepest->get_subcommands().front())
      before += (before.empty() ? "" : " ") + deepest->get_name();
    return Answer{deepest->help(before), "", kSuccess};
  } catch (const CLI::CallForVersion& version) {
    return Answer{std::string(version.what()) + "\n", "", kSuccess};
  } catch (const CLI::ValidationError& error) {
    return complain(error.what(), {});
  } catch (const CLI::ParseError& error) {
    return complain(error.what(), arguments);
  }
  if (completion_wanted_) {
    auto script = completion_script(values_.shell, words());
    return script ? Answer{*script, "", kSuccess}
                  : Answer{"", "sonde: " + script.error().message + "\n", kUsage};
  }
  if (auto finished = finish(); !finished)
    return Answer{"", "sonde: " + finished.error().message + "\n", kUsage};
  return Invocation{values_.global, command_};
}

} // namespace

std::variant<Invocation, Answer> parse_command_line(const std::vector<std::string>& arguments) {
  // The command keeps the values it was parsed into alive.
  auto line = std::make_shared<CommandLine>();
  auto parsed = line->parse(arguments);
  if (auto* invocation = std::get_if<Invocation>(&parsed))
    invocation->command = [line, command = std::move(invocation->command)](Context& context) {
      return command(context);
    };
  return parsed;
}

} // namespace cli
