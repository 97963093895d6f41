// What the commands print for people. Pure: values in, text out.
#pragma once

#include "sdk-clients/cli/table.h"

#include <sonde/v1/agent.pb.h>
#include <sonde/v1/join_token_service.pb.h>
#include <sonde/v1/offset_table_service.pb.h>
#include <sonde/v1/result_service.pb.h>
#include <sonde/v1/sampling_rule_service.pb.h>
#include <sonde/v1/session.pb.h>

#include <chrono>
#include <string>
#include <vector>

namespace cli {

using Now = std::chrono::nanoseconds; // since 1970-01-01 UTC

std::string render_agents(const std::vector<sonde::v1::Agent>& agents, Now now, const Style& style);
std::string
render_processes(const std::vector<sonde::v1::Process>& processes, Now now, const Style& style);
std::string
render_sessions(const std::vector<sonde::v1::Session>& sessions, Now now, const Style& style);
// One session: what it does, how far it got, and its hosts.
std::string render_session(
    const sonde::v1::Session& session, const std::vector<sonde::v1::SessionHost>& hosts, Now now,
    const Style& style);
std::string
render_tokens(const std::vector<sonde::v1::JoinToken>& tokens, Now now, const Style& style);
std::string
render_rules(const std::vector<sonde::v1::SamplingRule>& rules, Now now, const Style& style);
std::string
render_offset_tables(const std::vector<sonde::v1::OffsetTable>& tables, const Style& style);
std::string
render_traces(const std::vector<sonde::v1::TraceSummary>& traces, Now now, const Style& style);
// One line for one thing that happened in a session.
std::string render_tail_event(const sonde::v1::TailSessionResponse& event, const Style& style);

// "47/50 ACTIVE · 2 LAYOUT_MISSING · 1 OFFLINE": hosts, then what is not (yet) active, by reason
// where there is one.
std::string render_summary(const sonde::v1::SessionSummary& summary);
// "120 lost (RING_FULL 100, RATE_LIMITED 20)"; empty when nothing was.
std::string render_losses(const google::protobuf::RepeatedPtrField<sonde::v1::Loss>& losses);
// "env=prod,zone=a"; "-" for none.
std::string render_labels(const google::protobuf::Map<std::string, std::string>& labels);
// "http", "http:server": as --probe takes it.
std::string render_probe(const sonde::v1::Probe& probe);
std::string render_selector(const sonde::v1::Selector& selector);

bool has_ended(const sonde::v1::Session& session);

} // namespace cli
