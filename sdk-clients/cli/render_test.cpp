#include "sdk-clients/cli/render.h"

#include "sdk-clients/cli/text.h"
#include "sdk-clients/cli/trace_tree.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace cli {
namespace {

using testing::HasSubstr;
using testing::Not;

template <class Message> Message parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message));
  return message;
}

TEST(Render, SummarisesHostsByReasonAndState) {
  const auto summary = parse<sonde::v1::SessionSummary>(R"(
    hosts: 50
    states { state: ACTIVE hosts: 47 } states { state: REJECTED hosts: 2 } states { state: OFFLINE hosts: 1 }
    reasons { reason: LAYOUT_MISSING hosts: 2 })");

  EXPECT_EQ(render_summary(summary), "47/50 ACTIVE · 2 LAYOUT_MISSING · 1 OFFLINE");
}

TEST(Table, OfANarrowTerminalIsCutThenLeavesOutWhatCanBeSpared) {
  Table table({"AGENT", "HOST", "KERNEL", "STATE"}, {"KERNEL"});
  table.add(
      {"5e019555-0000-4000-8000-000000000000", "web-1.example.com", "6.1.0-18-amd64", "ONLINE"});
  const auto widest = [](const std::string& text) {
    size_t columns = 0;
    for (size_t at = 0, end = 0; (end = text.find('\n', at)) != text.npos; at = end + 1)
      columns = std::max(columns, columns_of(text.substr(at, end - at)));
    return columns;
  };

  const auto whole = table.render(Style{.columns = 40});
  EXPECT_THAT(whole, HasSubstr("5e019555-0000-4000-8000-000000000000  web-1.example.com  6.1.0"))
      << "no terminal, no limit";
  const auto cut = table.render(Style{.columns = 70, .wraps = true});
  EXPECT_LE(widest(cut), 70u);
  EXPECT_THAT(cut, HasSubstr("…"));
  EXPECT_THAT(cut, HasSubstr("6.1.0-18-amd64"));
  const auto spared = table.render(Style{.columns = 40, .wraps = true});
  EXPECT_LE(widest(spared), 40u);
  EXPECT_THAT(spared, HasSubstr("ONLINE"));
  EXPECT_THAT(spared, HasSubstr("no room for KERNEL"));
}

TEST(Render, ASessionThatEndedSpeaksOfItsHostsAndNotOfTheirLeases) {
  const auto session = parse<sonde::v1::Session>(R"(
    id: "s1" state: EXPIRED summary { hosts: 3 states { state: REMOVED hosts: 2 } states { state: EXPIRED hosts: 1 }
      reasons { reason: LEASE_EXPIRED hosts: 2 } reasons { reason: LAYOUT_MISSING hosts: 1 } })");

  const auto text = render_session(session, {}, Now(0), Style());

  EXPECT_THAT(text, HasSubstr("session s1  EXPIRED  3 hosts · 1 LAYOUT_MISSING\n"));
}

TEST(Render, NamesTheStateWhereNoReasonIsKnown) {
  const auto summary =
      parse<sonde::v1::SessionSummary>("hosts: 3 states { state: REJECTED hosts: 3 }");

  EXPECT_EQ(render_summary(summary), "0/3 ACTIVE · 3 REJECTED");
}

TEST(Render, AddsLossesUpAndListsTheirReasons) {
  const auto usage = parse<sonde::v1::Usage>(R"(
    losses { reason: "RING_FULL" count: 100 } losses { reason: "RATE_LIMITED" count: 20 } losses { reason: "X" })");

  EXPECT_EQ(render_losses(usage.losses()), "120 lost (RING_FULL 100, RATE_LIMITED 20)");
}

TEST(Render, ASessionShowsItsHostsAndWhyTheyDoNotTrace) {
  const auto session = parse<sonde::v1::Session>(R"(
    id: "s1" state: ACTIVE probes { http { side: SERVER } } selector { hosts: "env=prod" service: "checkout" })");
  const auto host = parse<sonde::v1::SessionHost>(R"(
    hostname: "web-1" status { state: REJECTED reason: LAYOUT_MISSING
      probes { pid: 7 detail: "runtime.g has no goid" } usage { losses { reason: "RING_FULL" count: 3 } } })");

  const auto text = render_session(session, {host}, Now(0), Style());

  EXPECT_THAT(text, HasSubstr("session s1  ACTIVE"));
  EXPECT_THAT(text, HasSubstr("http:server in hosts env=prod, service checkout"));
  EXPECT_THAT(text, HasSubstr("LAYOUT_MISSING"));
  EXPECT_THAT(text, HasSubstr("pid 7: runtime.g has no goid"));
  EXPECT_THAT(text, HasSubstr("3 lost (RING_FULL 3)"));
}

TEST(Render, ColoursOnlyWhenAsked) {
  const auto agent = parse<sonde::v1::Agent>(R"(id: "a" hostname: "web-1" state: ONLINE)");

  EXPECT_THAT(render_agents({agent}, Now(0), Style()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(render_agents({agent}, Now(0), Style{.colour = true}), HasSubstr("\x1b[32mONLINE"));
}

TEST(Render, EmptyListsSayWhatToDo) {
  EXPECT_THAT(render_agents({}, Now(0), Style()), HasSubstr("sonde token create"));
  EXPECT_THAT(render_sessions({}, Now(0), Style()), HasSubstr("sonde session run"));
}

TEST(Render, ATailLineHasTimeServiceResultAndTrace) {
  const auto event = parse<sonde::v1::TailSessionResponse>(R"(
    span { root_trace_id: "0af7" name: "GET" kind: "SERVER" service: "shop" status: "ERROR"
      start_time { seconds: 50587 nanos: 123000000 } duration { nanos: 12400000 }
      attributes { fields { key: "http.response.status_code" value { number_value: 500 } }
                   fields { key: "url.path" value { string_value: "/checkout" } }
                   fields { key: "error.type" value { string_value: "500" } } } })");

  EXPECT_EQ(
      render_tail_event(event, Style()),
      "14:03:07.123  shop  SERVER GET /checkout 500  12.4 ms  trace 0af7\n");
}

TEST(Render, ACallThatWasGivenUpSaysSo) {
  const auto event = parse<sonde::v1::TailSessionResponse>(R"(
    span { root_trace_id: "0af7" name: "GET" kind: "CLIENT" service: "shop" status: "UNSET"
      start_time { seconds: 50587 nanos: 123000000 } duration { nanos: 12400000 }
      attributes { fields { key: "url.full" value { string_value: "http://stock/" } }
                   fields { key: "sonde.outcome" value { string_value: "canceled" } } } })");

  EXPECT_THAT(render_tail_event(event, Style()), HasSubstr(" canceled  12.4 ms"));
}

TEST(Render, WhatAReaderMissedIsSaid) {
  const auto event =
      parse<sonde::v1::TailSessionResponse>(R"(missed { reason: "SLOW_READER" count: 9 })");

  EXPECT_THAT(render_tail_event(event, Style()), HasSubstr("9 events missed here (SLOW_READER)"));
}

const char* const kTrace = R"(
  resource_spans {
    resource { attributes { key: "service.name" value { string_value: "inventory" } } }
    scope_spans { spans { trace_id: "0123456789abcdef" span_id: "cccccccc" parent_span_id: "bbbbbbbb" name: "GET /stock"
      kind: SPAN_KIND_SERVER start_time_unix_nano: 1004000000 end_time_unix_nano: 1008000000
      attributes { key: "http.response.status_code" value { int_value: 200 } } } } }
  resource_spans {
    resource { attributes { key: "service.name" value { string_value: "shop" } } }
    scope_spans {
      spans { trace_id: "0123456789abcdef" span_id: "bbbbbbbb" parent_span_id: "aaaaaaaa" name: "GET" kind: SPAN_KIND_CLIENT
        start_time_unix_nano: 1002000000 end_time_unix_nano: 1009000000
        attributes { key: "url.full" value { string_value: "http://inventory:80/stock?item=REDACTED" } } }
      spans { trace_id: "0123456789abcdef" span_id: "aaaaaaaa" name: "GET /checkout" kind: SPAN_KIND_SERVER
        start_time_unix_nano: 1000000000 end_time_unix_nano: 1010000000 status { code: STATUS_CODE_ERROR }
        attributes { key: "error.type" value { string_value: "panic" } } } } })";

TEST(TraceTree, DrawsChildrenUnderTheirParents) {
  const auto text = render_trace(parse<sonde::v1::Trace>(kTrace), Style{.columns = 36});

  EXPECT_EQ(
      text,
      "trace 30313233343536373839616263646566 · 3 spans · 2 services · 10.0 ms\n"
      "SERVICE    SPAN                       KIND    RESULT  START     DURATION\n"
      "shop       GET /checkout              SERVER  panic   +0 ns     10.0 ms   ████████████\n"
      "shop       └─ GET inventory:80/stock  CLIENT  -       +2.00 ms  7.00 ms   ··█████████\n"
      "inventory     └─ GET /stock           SERVER  200     +4.00 ms  4.00 ms   ·····█████\n");
}

TEST(TraceTree, SaysThatATraceIsCut) {
  auto trace = parse<sonde::v1::Trace>(kTrace);
  EXPECT_THAT(render_trace(trace, Style()), Not(HasSubstr("cut")));
  trace.set_spans_left_out(1234);

  EXPECT_THAT(
      render_trace(trace, Style()), HasSubstr("the trace is cut: 1234 newer spans left out"));
}

TEST(TraceTree, MarksSpansWhoseParentIsElsewhereAndSurvivesACycle) {
  const auto text = render_trace(
      parse<sonde::v1::Trace>(R"(resource_spans { scope_spans {
        spans { span_id: "a" parent_span_id: "gone" name: "orphan" end_time_unix_nano: 10 }
        spans { span_id: "b" parent_span_id: "c" name: "one" end_time_unix_nano: 10 }
        spans { span_id: "c" parent_span_id: "b" name: "two" end_time_unix_nano: 10 } } })"),
      Style());

  EXPECT_THAT(text, HasSubstr("… orphan"));
  EXPECT_THAT(text, HasSubstr("one"));
  EXPECT_THAT(text, HasSubstr("two"));
}

} // namespace
} // namespace cli
