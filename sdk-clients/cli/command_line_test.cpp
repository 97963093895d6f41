#include "sdk-clients/cli/command_line.h"

#include "sdk-clients/cli/ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cli {
namespace {

using testing::HasSubstr;

Answer answer(const std::vector<std::string>& arguments) {
  auto parsed = parse_command_line(arguments);
  if (std::holds_alternative<Invocation>(parsed)) return {"", "a command", kFailure};
  return std::get<Answer>(parsed);
}

TEST(CommandLine, ReadsGlobalOptionsAnywhere) {
  const auto parsed =
      parse_command_line({"agents", "-s", "host:1", "-o", "json", "--timeout", "2s"});

  ASSERT_TRUE(std::holds_alternative<Invocation>(parsed));
  const auto& global = std::get<Invocation>(parsed).global;
  EXPECT_EQ(global.source.server, "host:1");
  EXPECT_EQ(global.format, Format::kJson);
  EXPECT_EQ(global.timeout, std::chrono::seconds(2));
}

TEST(CommandLine, SuggestsTheWordThatWasMeant) {
  const auto command = answer({"sesion", "list"});
  const auto option = answer({"session", "run", "--prob", "http"});
  const auto value = answer({"agents", "-o", "jsn"});

  EXPECT_EQ(command.exit_code, kUsage);
  EXPECT_THAT(command.err, HasSubstr("there is no sesion in `sonde`\n  did you mean session?"));
  EXPECT_THAT(option.err, HasSubstr("did you mean --probe?"));
  EXPECT_THAT(value.err, HasSubstr("table,json,yaml"));
}

TEST(CommandLine, HelpTeachesWithExamples) {
  const auto main = answer({"--help"});
  const auto run = answer({"session", "run", "--help"});

  EXPECT_EQ(main.exit_code, kSuccess);
  EXPECT_THAT(main.out, HasSubstr("Exit codes"));
  EXPECT_THAT(run.out, HasSubstr("Usage: sonde session run"));
  EXPECT_THAT(run.out, HasSubstr("--dry-run"));
}

TEST(CommandLine, TheHelpOfEveryCommandHasExamplesOfItsOwn) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"agents"},
           {"agents", "list"},
           {"agents", "get"},
           {"agents", "drain"},
           {"agents", "evict"},
           {"agents", "ban"},
           {"processes"},
           {"token"},
           {"token", "create"},
           {"token", "list"},
           {"token", "delete"},
           {"session"},
           {"session", "run"},
           {"session", "list"},
           {"session", "get"},
           {"session", "status"},
           {"session", "stop"},
           {"session", "cancel"},
           {"session", "delete"},
           {"session", "extend"},
           {"tail"},
           {"trace"},
           {"spans"},
           {"rules"},
           {"rules", "list"},
           {"rules", "apply"},
           {"rules", "delete"},
           {"offsets"},
           {"offsets", "list"},
           {"offsets", "get"},
           {"completion"}}) {
    auto asked = words;
    asked.emplace_back("--help");
    const auto help = answer(asked).out;
    std::string command = "sonde";
    for (const auto& word : words) command += " " + word;

    EXPECT_THAT(help, HasSubstr("Usage: " + command)) << help;
    const auto examples = help.find("\nExample");
    ASSERT_NE(examples, help.npos) << help;
    EXPECT_THAT(help.substr(examples), HasSubstr(command)) << help;
    EXPECT_THAT(help, testing::Not(HasSubstr("Start here"))) << help;
  }
}

TEST(CommandLine, WithoutACommandSaysWhichThereAre) {
  EXPECT_THAT(answer({}).err, HasSubstr("agents, processes, token, session"));
  EXPECT_THAT(answer({"session"}).err, HasSubstr("run, list, get"));
}

TEST(CommandLine, CompletionKnowsEveryCommandOfEveryShell) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const auto script = answer({"completion", shell});
    EXPECT_EQ(script.exit_code, kSuccess) << shell;
    EXPECT_THAT(script.out, HasSubstr("session")) << shell;
    EXPECT_THAT(script.out, HasSubstr("dry-run")) << shell;
  }
  EXPECT_EQ(answer({"completion", "csh"}).exit_code, kUsage);
}

TEST(Session, IsMadeOfFlags) {
  RunArguments arguments;
  arguments.probes = {"http:server"};
  arguments.hosts = {"env=prod", "!canary"};
  arguments.service = "checkout";
  arguments.ttl = "5m";
  arguments.ratio = 0.1;

  const auto session = make_session(arguments, "");

  ASSERT_TRUE(session.ok());
  EXPECT_EQ(session->probes(0).http().side(), sonde::v1::HttpProbe::SERVER);
  EXPECT_EQ(session->selector().hosts(), "env=prod,!canary");
  EXPECT_EQ(session->ttl().seconds(), 300);
  EXPECT_DOUBLE_EQ(session->sampling().ratio(), 0.1);
}

TEST(Session, AnEmptyFlagDoesNotWidenWhatIsTraced) {
  RunArguments arguments;
  arguments.probes = {"http"};
  arguments.hosts = {"env=prod"};
  auto unset_variable = arguments;
  unset_variable.service = "";
  auto empty_label = arguments;
  empty_label.hosts.emplace_back();

  EXPECT_TRUE(make_session(arguments, "").ok());
  EXPECT_THAT(make_session(unset_variable, "").error().message, HasSubstr("--service is empty"));
  EXPECT_THAT(make_session(empty_label, "").error().message, HasSubstr("-l is empty"));
}

TEST(Session, FlagsWinOverTheFile) {
  RunArguments arguments;
  arguments.file = "session.yaml";
  arguments.ttl = "10m";

  const auto session = make_session(
      arguments, "displayName: slow\nselector: {service: shop, maxHosts: 5}\nprobes: [{http: {}}, "
                 "{http: {side: CLIENT}}]\n"
                 "export: {store: false}\nttl: 1m\n");

  ASSERT_TRUE(session.ok()) << session.error().message;
  EXPECT_EQ(session->ttl().seconds(), 600);
  EXPECT_EQ(session->probes_size(), 2);
  EXPECT_EQ(session->selector().max_hosts(), 5);
  EXPECT_FALSE(session->export_().store());
}

TEST(Session, WrongFilesAreRefusedWithLineAndSuggestion) {
  RunArguments arguments;
  arguments.file = "session.yaml";
  const auto message = [&](const std::string& text) {
    const auto session = make_session(arguments, text);
    return session.ok() ? std::string("accepted") : session.error().message;
  };

  EXPECT_THAT(
      message("probes: [{http: {}}]\nselektor: {}\n"),
      HasSubstr(
          "session.yaml:2: unknown field \"selektor\" in Session; did you mean \"selector\"?"));
  EXPECT_THAT(message("selector: shop\n"), HasSubstr("session.yaml:1"));
  EXPECT_THAT(message("ttl: soon\n"), HasSubstr("\"soon\" is no duration"));
  EXPECT_THAT(
      message("probes: [{http: {side: LEFT}}]\n"), HasSubstr("one of BOTH, SERVER, CLIENT"));
  EXPECT_THAT(message("selector: {maxHosts: many}\n"), HasSubstr("session.yaml:1"));
  EXPECT_THAT(message("a: [\n"), HasSubstr("session.yaml"));
  EXPECT_THAT(message(""), HasSubstr("no Session in it"));
}

TEST(Session, AnUnknownProbeGetsASuggestion) {
  RunArguments arguments;
  arguments.probes = {"htpp"};

  EXPECT_THAT(make_session(arguments, "").error().message, HasSubstr("did you mean \"http\"?"));
}

TEST(Session, IsFoundByTheBeginningOfItsId) {
  const std::vector<std::string> ids = {"0b9e77", "0b9f00", "77aa00"};

  EXPECT_EQ(*match_id(kSessionId, "77", ids), "77aa00");
  EXPECT_EQ(match_id(kSessionId, "0b9", ids).error().reason, "SESSION_AMBIGUOUS");
  EXPECT_EQ(match_id(kSessionId, "ff", ids).error().reason, "SESSION_NOT_FOUND");
  EXPECT_EQ(*match_id(kAgentId, "77aa…", ids), "77aa00") << "copied from a narrow table";
  EXPECT_EQ(match_id(kAgentId, "", {"77aa00"}).error().reason, "AGENT_NOT_FOUND");
}

TEST(ExitCodes, TellWhoIsToBlame) {
  using base::Code;
  EXPECT_EQ(exit_code_of({Code::kUnavailable, "SERVER_UNREACHABLE", "", ""}), kUnreachable);
  EXPECT_EQ(exit_code_of({Code::kPermissionDenied, "PERMISSION_DENIED", "", ""}), kNotAllowed);
  EXPECT_EQ(exit_code_of({Code::kInvalidArgument, "USAGE", "", ""}), kUsage);
  EXPECT_EQ(exit_code_of({Code::kInvalidArgument, "TTL_TOO_LONG", "", ""}), kRefused);
  EXPECT_EQ(exit_code_of({Code::kNotFound, "SESSION_NOT_FOUND", "", ""}), kNotFound);
}

} // namespace
} // namespace cli
