#include "base/hex.h"
#include "controlplane/stitch/limits.h"
#include "controlplane/stitch/results.h"
#include "controlplane/stitch/tail.h"
#include "controlplane/store/spans.h"
#include "results_fixture.h"

#include <future>
#include <set>
#include <thread>

namespace {

using namespace results_fixture;
using controlplane::ingest::Ingest;
using controlplane::ingest::StoredBatch;
using controlplane::stitch::Results;
using controlplane::stitch::Tail;
using controlplane::stitch::TailReader;
namespace store = controlplane::store;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kStart = 1'700'000'000 * kSecond;

std::string hex(uint64_t number, size_t size) { return base::to_hex(bytes_of(number, size)); }

class ResultsTest : public testing::Test {
 protected:
  ResultsTest() {
    add_agent(*pool, kAgent, "web-1");
    add_session(*pool, kSession, {kAgent});
  }
  void ingest(const std::vector<SpanOf>& spans, const std::string& service = "cart") {
    UploadRequest request = batch_of(++batch, {});
    for (const SpanOf& span : spans) add_span(request, span, service);
    ASSERT_EQ(upload(*writer, request).outcome(), UploadResponse::ACCEPTED);
  }
  sonde::v1::ListSpansResponse
  list_spans(const std::string& filter = "", int page_size = 0, const std::string& token = "") {
    sonde::v1::ListSpansRequest request;
    request.set_session_id(kSession);
    request.set_filter(filter);
    request.set_page_size(page_size);
    request.set_page_token(token);
    auto response = results.list_spans(request);
    if (!response) {
      ADD_FAILURE() << response.error().reason << ' ' << response.error().message;
      return {};
    }
    return *response;
  }
  std::vector<std::string> names(const std::string& filter) {
    std::vector<std::string> names;
    const auto page = list_spans(filter);
    for (const auto& span : page.spans()) names.push_back(span.name());
    return names;
  }
  sonde::v1::ListTracesResponse list_traces(int page_size = 0, const std::string& token = "") {
    sonde::v1::ListTracesRequest request;
    request.set_session_id(kSession);
    request.set_page_size(page_size);
    request.set_page_token(token);
    return results.list_traces(request).value();
  }
  base::Result<sonde::v1::Trace> get_trace(uint64_t trace) {
    sonde::v1::GetTraceRequest request;
    request.set_session_id(kSession);
    request.set_trace_id(hex(trace, 16));
    return results.get_trace(request);
  }
  void join(uint64_t trace, uint64_t root) {
    in_transaction(*pool, [&](Transaction& tx) {
      return tx.exec(
          "insert into trace_aliases (session_id, trace_id, root_trace_id) "
          "values ($1::uuid, $2::bytea, $3::bytea)",
          kSession, store::Bytes{bytes_of(trace, 16)}, store::Bytes{bytes_of(root, 16)});
    });
  }

  postgres_fixture::ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
  std::unique_ptr<Ingest> writer = std::make_unique<Ingest>(*pool, [](const StoredBatch&) {});
  Results results{*pool};
  uint64_t batch = 0;
};

TEST_F(ResultsTest, ListsSpansNewestFirstAPageAtATime) {
  std::vector<SpanOf> spans;
  for (uint64_t i = 1; i <= 25; ++i)
    spans.push_back({.span = i, .name = "n" + std::to_string(i), .start = kStart + i / 2});
  ingest(spans);

  std::set<std::string> seen;
  std::string token;
  int pages = 0;
  uint64_t last = UINT64_MAX;
  do {
    const auto page = list_spans("", 10, token);
    for (const auto& span : page.spans()) {
      EXPECT_TRUE(seen.insert(span.span_id()).second);
      const uint64_t start = span.start_time().seconds() * kSecond + span.start_time().nanos();
      EXPECT_LE(start, last);
      last = start;
    }
    token = page.next_page_token();
    ++pages;
  } while (!token.empty());

  EXPECT_EQ(seen.size(), 25u);
  EXPECT_EQ(pages, 3);
}

TEST_F(ResultsTest, ShowsASpanAsAFlatRow) {
  ingest(
      {{.trace = 7,
        .span = 8,
        .parent = 9,
        .start = kStart + 5,
        .duration = 1'500'000'000,
        .error = true}});

  const auto page = list_spans();

  ASSERT_EQ(page.spans_size(), 1);
  const auto& span = page.spans(0);
  EXPECT_EQ(span.trace_id(), hex(7, 16));
  EXPECT_EQ(span.root_trace_id(), hex(7, 16));
  EXPECT_EQ(span.span_id(), hex(8, 8));
  EXPECT_EQ(span.parent_span_id(), hex(9, 8));
  EXPECT_EQ(span.kind(), "SERVER");
  EXPECT_EQ(span.status(), "ERROR");
  EXPECT_EQ(span.service(), "cart");
  EXPECT_EQ(span.hostname(), "web-1");
  EXPECT_EQ(span.agent_id(), kAgent);
  EXPECT_EQ(span.pid(), 42u);
  EXPECT_EQ(span.start_time().nanos(), 5);
  EXPECT_EQ(span.duration().seconds(), 1);
  EXPECT_EQ(span.duration().nanos(), 500'000'000);
  EXPECT_EQ(span.attributes().fields().at("http.request.method").string_value(), "GET");
}

TEST_F(ResultsTest, FiltersByEveryField) {
  ingest(
      {{.trace = 1, .span = 1, .name = "fast", .duration = 1'000'000},
       {.trace = 2,
        .span = 2,
        .name = "slow",
        .duration = 2 * kSecond,
        .error = true,
        .kind = Span::SPAN_KIND_CLIENT}});
  ingest({{.trace = 3, .span = 3, .name = "other"}}, "stock");
  using Names = std::vector<std::string>;

  EXPECT_EQ(names("name = \"fast\""), Names{"fast"});
  EXPECT_EQ(names("kind = \"CLIENT\""), Names{"slow"});
  EXPECT_EQ(names("status = \"ERROR\" AND service = \"cart\""), Names{"slow"});
  EXPECT_EQ(names("service != \"cart\""), Names{"other"});
  EXPECT_EQ(names("duration > \"0.5s\""), Names{"slow"});
  EXPECT_EQ(names("trace_id = \"" + hex(3, 16) + "\""), Names{"other"});
  sonde::v1::ListSpansRequest bad;
  bad.set_session_id(kSession);
  bad.set_filter("colour = \"red\"");
  EXPECT_EQ(results.list_spans(bad).error().reason, "INVALID_FILTER");
}

TEST_F(ResultsTest, SumsUpTracesNewestFirst) {
  for (uint64_t trace = 1; trace <= 5; ++trace) {
    const uint64_t start = kStart + trace * kSecond;
    ingest(
        {{.trace = trace, .span = trace * 10, .name = "GET", .start = start, .duration = 100},
         {.trace = trace,
          .span = trace * 10 + 1,
          .parent = trace * 10,
          .start = start + 10,
          .duration = 500,
          .error = trace == 3}});
    ingest(
        {{.trace = trace, .span = trace * 10 + 2, .parent = trace * 10 + 1, .start = start + 20}},
        "stock");
  }

  const auto first = list_traces(3);
  const auto rest = list_traces(3, first.next_page_token());

  ASSERT_EQ(first.traces_size(), 3);
  ASSERT_EQ(rest.traces_size(), 2);
  EXPECT_EQ(rest.next_page_token(), "");
  EXPECT_EQ(first.traces(0).trace_id(), hex(5, 16));
  EXPECT_EQ(rest.traces(1).trace_id(), hex(1, 16));
  const auto& third = first.traces(2);
  EXPECT_EQ(third.trace_id(), hex(3, 16));
  EXPECT_EQ(third.root_name(), "GET");
  EXPECT_EQ(third.root_service(), "cart");
  EXPECT_EQ(third.spans(), 3);
  EXPECT_EQ(third.errors(), 1);
  EXPECT_EQ(third.services(0), "cart");
  EXPECT_EQ(third.services(1), "stock");
}

TEST_F(ResultsTest, AnswersATraceInTheShapeOfOtlpGroupedByResource) {
  ingest({{.trace = 1, .span = 1}});
  ingest({{.trace = 1, .span = 2, .parent = 1}}, "stock");
  ingest({{.trace = 1, .span = 3, .parent = 1}});

  const sonde::v1::Trace trace = get_trace(1).value();

  ASSERT_EQ(trace.resource_spans_size(), 2);
  int spans = 0;
  for (const auto& resource : trace.resource_spans()) {
    bool agent = false;
    for (const auto& attribute : resource.resource().attributes())
      agent |= attribute.key() == "sonde.agent.id" && attribute.value().string_value() == kAgent;
    EXPECT_TRUE(agent);
    ASSERT_EQ(resource.scope_spans_size(), 1);
    spans += resource.scope_spans(0).spans_size();
  }
  EXPECT_EQ(spans, 3);
}

TEST_F(ResultsTest, SaysHowManySpansOfALargeTraceAreLeftOut) {
  std::vector<SpanOf> spans;
  for (uint64_t i = 1; i <= controlplane::stitch::kTraceSpansMax; ++i)
    spans.push_back({.trace = 1, .span = i, .start = kStart + i});
  ingest(spans);
  EXPECT_EQ(get_trace(1)->spans_left_out(), 0);
  ingest(
      {{.trace = 1, .span = 1'000'001, .name = "newest", .start = kStart + kSecond},
       {.trace = 1, .span = 1'000'002, .name = "oldest", .start = kStart - kSecond}});

  const sonde::v1::Trace trace = get_trace(1).value();

  EXPECT_EQ(trace.spans_left_out(), 2);
  const auto& kept = trace.resource_spans(0).scope_spans(0).spans();
  EXPECT_EQ(kept.size(), static_cast<int>(controlplane::stitch::kTraceSpansMax));
  EXPECT_EQ(kept[0].name(), "oldest");
  opentelemetry::proto::trace::v1::TracesData otlp;
  ASSERT_TRUE(otlp.ParseFromString(trace.SerializeAsString())) << "it has the shape of OTLP";
  EXPECT_EQ(otlp.resource_spans(0).scope_spans(0).spans_size(), kept.size());
}

TEST_F(ResultsTest, TakesLateChildrenMissingParentsAndClocksThatDisagree) {
  // The child came first, its clock is behind, its parent is missing altogether in trace 2.
  ingest({{.trace = 1, .span = 2, .parent = 1, .name = "child", .start = kStart - kSecond}});
  ingest({{.trace = 2, .span = 5, .parent = 77, .name = "orphan", .start = kStart + kSecond}});
  ingest({{.trace = 1, .span = 1, .name = "root", .start = kStart}});

  const auto traces = list_traces();

  ASSERT_EQ(traces.traces_size(), 2);
  EXPECT_EQ(traces.traces(0).root_name(), "orphan");
  EXPECT_EQ(traces.traces(1).root_name(), "root");
  EXPECT_EQ(traces.traces(1).spans(), 2);
  EXPECT_EQ(get_trace(1)->resource_spans(0).scope_spans(0).spans_size(), 2);
  EXPECT_EQ(get_trace(2)->resource_spans(0).scope_spans(0).spans_size(), 1);
}

TEST_F(ResultsTest, ResolvesTracesThatWereJoined) {
  ingest({{.trace = 1, .span = 1, .name = "root", .start = kStart}});
  ingest({{.trace = 2, .span = 2, .parent = 1, .start = kStart + 1}});
  ingest({{.trace = 3, .span = 3, .parent = 2, .start = kStart + 2}});
  join(3, 1);
  join(2, 1);

  const auto traces = list_traces();

  ASSERT_EQ(traces.traces_size(), 1);
  EXPECT_EQ(traces.traces(0).trace_id(), hex(1, 16));
  EXPECT_EQ(traces.traces(0).spans(), 3);
  for (const uint64_t trace : {1, 2, 3})
    EXPECT_EQ(get_trace(trace)->resource_spans(0).scope_spans(0).spans_size(), 3);
  const auto page = list_spans();
  for (const auto& span : page.spans()) EXPECT_EQ(span.root_trace_id(), hex(1, 16));
}

TEST_F(ResultsTest, SaysWhatDoesNotExist) {
  sonde::v1::ListSpansRequest request;
  request.set_session_id(kOtherSession);
  EXPECT_EQ(results.list_spans(request).error().reason, "SESSION_NOT_FOUND");
  request.set_session_id("no uuid");
  EXPECT_EQ(results.list_spans(request).error().reason, "SESSION_NOT_FOUND");
  request.set_session_id(kSession);
  request.set_page_token("nonsense");
  EXPECT_EQ(results.list_spans(request).error().reason, "INVALID_PAGE_TOKEN");
  request.set_page_token("");
  request.set_page_size(-1);
  EXPECT_EQ(results.list_spans(request).error().reason, "PAGE_SIZE_NEGATIVE");
  EXPECT_EQ(get_trace(99).error().reason, "TRACE_NOT_FOUND");
  sonde::v1::GetTraceRequest trace;
  trace.set_session_id(kSession);
  trace.set_trace_id("xyz");
  EXPECT_EQ(results.get_trace(trace).error().reason, "INVALID_TRACE_ID");
}

class TailTest : public ResultsTest {
 protected:
  std::shared_ptr<TailReader> open(const std::string& after = "") {
    sonde::v1::TailSessionRequest request;
    request.set_session_id(kSession);
    request.set_after_event_id(after);
    auto reader = tail.open(request, [] {});
    if (!reader) {
      ADD_FAILURE() << reader.error().message;
      abort();
    }
    return *reader;
  }
  // Events until `spans` of them are spans, or ten seconds passed.
  static std::vector<sonde::v1::TailSessionResponse> take(TailReader& reader, size_t spans) {
    std::vector<sonde::v1::TailSessionResponse> events;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (spans > 0 && std::chrono::steady_clock::now() < deadline) {
      auto event = reader.take();
      if (!event) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        continue;
      }
      if (event->has_span()) --spans;
      events.push_back(std::move(*event));
    }
    EXPECT_EQ(spans, 0u) << "spans that did not come";
    return events;
  }
  static std::vector<std::string>
  span_ids(const std::vector<sonde::v1::TailSessionResponse>& events) {
    std::vector<std::string> ids;
    for (const auto& event : events)
      if (event.has_span()) ids.push_back(event.span().span_id());
    return ids;
  }
  template <class Condition> static bool eventually(Condition condition) {
    for (int i = 0; i < 1000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  Tail tail{*pool};
};

TEST_F(TailTest, ShowsWhatAnotherReplicaStored) {
  ingest({{.span = 1}});
  const auto reader = open();

  ingest({{.span = 2}, {.span = 3}});

  const auto events = take(*reader, 2);
  EXPECT_EQ(span_ids(events), (std::vector{hex(2, 8), hex(3, 8)}));
}

TEST_F(TailTest, ResumesBehindTheEventItNamesAtAnyReplica) {
  const auto reader = open();
  std::vector<SpanOf> spans;
  for (uint64_t i = 1; i <= 10; ++i) spans.push_back({.span = i});
  ingest(spans);
  const auto events = take(*reader, 10);
  ingest({{.span = 11}});
  std::vector<std::string> ids;
  for (const auto& event : events)
    if (event.has_span()) ids.push_back(event.event_id());

  Tail other(*pool);
  sonde::v1::TailSessionRequest request;
  request.set_session_id(kSession);
  request.set_after_event_id(ids[3]);
  const auto resumed = other.open(request, [] {}).value();

  EXPECT_EQ(
      span_ids(take(*resumed, 7)),
      (std::vector{hex(5, 8), hex(6, 8), hex(7, 8), hex(8, 8), hex(9, 8), hex(10, 8), hex(11, 8)}));
}

TEST_F(TailTest, SeesARowThatWasCommittedAfterALaterOne) {
  const auto reader = open();
  std::promise<void> inserted, release;
  // A transaction that begins first and commits last.
  std::jthread slow([&] {
    in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
      const std::string trace = bytes_of(1, 16), span = bytes_of(1, 8), hash(32, 'x');
      store::NewSpan row;
      row.session_id = kSession;
      row.trace_id = trace;
      row.span_id = span;
      row.kind = "SERVER";
      row.status = "UNSET";
      row.agent_id = kAgent;
      row.resource_sha256 = hash;
      TRY(store::copy_spans(tx, std::vector{row}));
      inserted.set_value();
      release.get_future().wait();
      return {};
    });
  });
  inserted.get_future().wait();

  ingest({{.span = 2}});
  EXPECT_EQ(span_ids(take(*reader, 1)), std::vector{hex(2, 8)});
  release.set_value();

  EXPECT_EQ(span_ids(take(*reader, 1)), std::vector{hex(1, 8)});
}

TEST_F(TailTest, TellsASlowReaderWhatItMissed) {
  using controlplane::stitch::kTailBacklogMax;
  std::atomic<int> wakes = 0;
  sonde::v1::TailSessionRequest request;
  request.set_session_id(kSession);
  const auto reader = tail.open(request, [&] { ++wakes; }).value();
  const size_t all = kTailBacklogMax + 1000;
  for (uint64_t id = 0; id < all;) {
    std::vector<SpanOf> spans;
    for (int i = 0; i < 500 && id < all; ++i) spans.push_back({.span = ++id});
    ingest(spans);
  }
  // Quiet for several polls: it filled the backlog and gave up on the rest.
  int before = -1;
  ASSERT_TRUE(eventually([&] {
    if (wakes == before) return true;
    before = wakes;
    std::this_thread::sleep_for(std::chrono::seconds(2));
    return false;
  }));

  uint64_t seen = 0, missed = 0;
  while (auto event = reader->take()) {
    seen += event->has_span() ? 1 : 0;
    missed += event->missed().count();
  }

  EXPECT_EQ(seen + missed, all);
  EXPECT_GE(seen, kTailBacklogMax - 1);
  EXPECT_GT(missed, 0u);
}

TEST_F(TailTest, EndsWithTheFinalStateOfTheSession) {
  const auto reader = open();
  ingest({{.span = 1}});
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec(
        "update sessions set state = 'SUCCEEDED', end_time = now(), revision = revision + 1"));
    return {};
  });
  tail.session_changed(kSession);

  ASSERT_TRUE(eventually([&] {
    static std::optional<sonde::v1::TailSessionResponse> last;
    while (auto event = reader->take()) last = std::move(event);
    return reader->ended() && last && last->session().state() == sonde::v1::Session::SUCCEEDED;
  }));
}

TEST_F(TailTest, ShowsSpansThatNoStoreKeeps) {
  const auto reader = open();
  UploadRequest request = batch_of(1, {{.trace = 4, .span = 5}});

  ASSERT_TRUE(eventually([&] {
    tail.publish(kSession, kAgent, "web-1", false, request.traces().SerializeAsString());
    while (auto event = reader->take())
      if (event->has_span())
        return event->span().span_id() == hex(5, 8) && event->span().hostname() == "web-1";
    return false;
  }));
}

TEST_F(TailTest, RefusesEventIdsThatAreNone) {
  sonde::v1::TailSessionRequest request;
  request.set_session_id(kSession);
  for (const char* id : {"x", "1:2", "5:1:", "1:1:~1:1:~", "1:1:~2:2:~1", "'; drop table spans"}) {
    request.set_after_event_id(id);
    const auto reader = tail.open(request, [] {});
    ASSERT_FALSE(reader.ok()) << id;
    EXPECT_EQ(reader.error().reason, "INVALID_EVENT_ID") << id;
  }
  request.set_session_id(kOtherSession);
  request.set_after_event_id("");
  EXPECT_EQ(tail.open(request, [] {}).error().reason, "SESSION_NOT_FOUND");
}

} // namespace
