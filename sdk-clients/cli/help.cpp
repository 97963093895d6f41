#include "sdk-clients/cli/help.h"

#include <utility>

namespace cli {
namespace {

constexpr const char* kMainEpilog = R"(
Start here:
  sonde agents                                   the hosts that may be traced
  sonde processes                                the Go programs on them
  sonde session run --probe http --service shop --ttl 5m
  sonde tail SESSION                             spans as they arrive
  sonde trace SESSION --latest                   the newest trace as a tree

Server, token and authority come from flags, then SONDE_SERVER, SONDE_TOKEN or SONDE_TOKEN_FILE, SONDE_CA,
then ~/.config/sonde/config.yaml with the keys server, tokenFile and ca.

Exit codes: 0 done · 1 unexpected error · 2 wrong command line or file · 3 token missing or not allowed ·
  4 not found · 5 refused (the reason says why) · 6 server unreachable or not trusted · 7 nothing is traced ·
  130 interrupted)";

constexpr const char* kRunEpilog = R"(
Examples:
  sonde session run --probe http -l env=prod --service checkout --ttl 5m --dry-run
      how many hosts and processes that would trace
  sonde session run --probe http:server --service 'check*' --ratio 0.1 --rate 500
      one request in ten, at most 500 spans a second and process
  sonde session run -f session.yaml --ttl 10m
      what the file says, for ten minutes

A session in a file (JSON reads as well):
  displayName: checkout is slow
  selector: {hosts: env=prod, service: checkout}
  probes: [{http: {}}]
  sampling: {ratio: 0.1, spansPerSecond: 500}
  ttl: 5m)";

constexpr std::pair<std::string_view, std::string_view> kEpilogs[] = {
    {"", kMainEpilog},
    {"agents", R"(
Examples:
  sonde agents                                   all hosts, and what Sonde costs on each
  sonde agents --filter 'state = "OFFLINE"'      fields: state, hostname, version, kernel
  sonde agents get AGENT                         with what this host cannot do, and why)"},
    {"agents list", R"(
Example:
  sonde agents list --filter 'state = "ONLINE" AND hostname = "web-*"'

Comparisons are joined by AND; * stands for anything. There is no OR and no NOT.)"},
    {"agents get", R"(
Examples:
  sonde agents get 5e01                          the beginning of an id will do
  sonde agents get AGENT -o yaml                 everything that is known of it)"},
    {"agents drain", R"(
Example:
  sonde agents drain AGENT                       sessions that run go on; no new one chooses this host)"},
    {"agents evict", R"(
Example:
  sonde agents evict AGENT                       its streams end at once; a new join token lets it back in)"},
    {"agents ban", R"(
Example:
  sonde agents ban AGENT                         its streams end at once, and it never comes back)"},
    {"processes", R"(
Examples:
  sonde processes                                PROBES tells what can be traced, WHY NOT what cannot
  sonde processes --filter 'service = "shop"'    fields: service, executable, go_version, binary_hash, hostname
  sonde processes --agent AGENT)"},
    {"token", R"(
Examples:
  sonde token create -l env=prod > token         on your machine; then, on the new host:
  sonde-agent --server HOST:PORT --join-token-file token
  sonde token list                               which are unused, and who used the others)"},
    {"token create", R"(
Example:
  sonde token create --ttl 10m -l env=prod > token
  sonde-agent --server HOST:PORT --join-token-file token     on the new host

It is good for one host. The labels are what `sonde session run -l` selects by.)"},
    {"token list", R"(
Example:
  sonde token list)"},
    {"token delete", R"(
Example:
  sonde token delete TOKEN                       its id, as `sonde token list` shows it)"},
    {"session", R"(
Examples:
  sonde session run --probe http -l env=prod --service shop --ttl 5m
  sonde session status SESSION --watch           until it ends
  sonde session stop SESSION                     SESSION is an id, or the beginning of one)"},
    {"session run", kRunEpilog},
    {"session list", R"(
Examples:
  sonde session list
  sonde session list --filter 'state = "ACTIVE" AND display_name = "checkout*"'

Fields of a filter: state, created_by, display_name, create_time and expire_time; joined by AND, * stands for anything.)"},
    {"session get", R"(
Examples:
  sonde session get 5e01                         the beginning of an id will do
  sonde session get SESSION -o yaml)"},
    {"session status", R"(
Examples:
  sonde session status SESSION                   every host: its state, why, spans and losses
  sonde session status SESSION --watch           47/50 ACTIVE · 2 LAYOUT_MISSING · 1 OFFLINE)"},
    {"session stop", R"(
Example:
  sonde session stop SESSION                     nothing stays attached; `sonde trace` still shows what it found)"},
    {"session cancel", R"(
Example:
  sonde session cancel SESSION                   like stop, but what has not arrived yet is dropped)"},
    {"session delete", R"(
Example:
  sonde session delete SESSION                   one that has ended, with its spans; there is no way back)"},
    {"session extend", R"(
Example:
  sonde session extend SESSION --ttl 10m         ten minutes from now)"},
    {"tail", R"(
Examples:
  sonde tail SESSION                             until the session ends, or Ctrl-C
  sonde tail SESSION -n 10                       ten spans
  sonde tail SESSION -o json | jq .span.name     an object a line)"},
    {"trace", R"(
Examples:
  sonde trace SESSION                            all traces, newest first
  sonde trace SESSION --latest                   the newest as a tree
  sonde trace SESSION TRACE -o json              one as OTLP JSON)"},
    {"spans", R"(
Examples:
  sonde spans SESSION --filter 'status = "ERROR"'
  sonde spans SESSION --filter 'kind = "SERVER" AND duration > "0.1s"'
  sonde spans SESSION -o json                    with all attributes

Fields of a filter: name, kind, status, service, trace_id and duration; joined by AND. In name and service * stands for
anything.)"},
    {"rules", R"(
Examples:
  sonde rules apply -f rules.yaml --diff         what would change
  sonde rules apply -f rules.yaml
  sonde rules list)"},
    {"rules list", R"(
Example:
  sonde rules list -o yaml)"},
    {"rules apply", R"(
Example:
  sonde rules apply -f rules.yaml --diff

A rule in a file; one with the same displayName is changed, others stay:
  displayName: checkout at ten percent
  selector: {service: checkout}
  ratio: 0.1)"},
    {"rules delete", R"(
Example:
  sonde rules delete RULE                        its id, as `sonde rules list` shows it)"},
    {"offsets", R"(
Examples:
  sonde offsets list
  sonde offsets get TABLE)"},
    {"offsets list", R"(
Example:
  sonde offsets list)"},
    {"offsets get", R"(
Example:
  sonde offsets get TABLE                        its id, as `sonde offsets list` shows it)"},
    {"completion", R"(
Examples:
  source <(sonde completion bash)
  sonde completion zsh > "${fpath[1]}/_sonde"
  sonde completion fish > ~/.config/fish/completions/sonde.fish)"},
};

} // namespace

std::string help_epilog(std::string_view command) {
  for (const auto& [words, epilog] : kEpilogs)
    if (words == command) return std::string(epilog);
  return "";
}

} // namespace cli
