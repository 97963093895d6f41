#include "controlplane/ingest/ingest.h"

#include "controlplane/ingest/upload.h"
#include "controlplane/store/batches.h"
#include "results_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <mutex>
#include <thread>

namespace {

using namespace results_fixture;
using controlplane::ingest::Ingest;
using controlplane::ingest::StoredBatch;
namespace store = controlplane::store;

class IngestTest : public testing::Test {
 protected:
  IngestTest() {
    add_agent(*pool, kAgent, "web-1");
    add_agent(*pool, kOtherAgent, "web-2");
  }
  static void ignore(const StoredBatch&) {}

  postgres_fixture::ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
};

TEST_F(IngestTest, StoresASpanWithWhatTheCertificateSays) {
  add_session(*pool, kSession, {kAgent});
  Ingest ingest(*pool, ignore);
  UploadRequest request =
      batch_of(1, {{.trace = 7, .span = 8, .parent = 9, .duration = 250, .error = true}});
  auto& lie =
      *request.mutable_traces()->mutable_resource_spans(0)->mutable_resource()->add_attributes();
  lie.set_key("host.name");
  lie.mutable_value()->set_string_value("somebody-else");

  EXPECT_EQ(upload(ingest, request).outcome(), UploadResponse::ACCEPTED);

  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    const auto row = TRY(tx.exec("select s.*, r.resource from spans s join resources r "
                                 "on r.day = s.day and r.sha256 = s.resource_sha256"))
                         .front();
    EXPECT_EQ(row.bytes("trace_id"), bytes_of(7, 16));
    EXPECT_EQ(row.bytes("span_id"), bytes_of(8, 8));
    EXPECT_EQ(row.bytes("parent_span_id"), bytes_of(9, 8));
    EXPECT_EQ(row.text("kind"), "SERVER");
    EXPECT_EQ(row.text("status"), "ERROR");
    EXPECT_EQ(row.text("service"), "cart");
    EXPECT_EQ(row.text("hostname"), "web-1");
    EXPECT_EQ(row.text("agent_id"), kAgent);
    EXPECT_EQ(row.integer("pid"), 42);
    EXPECT_EQ(row.integer("duration_nanos"), 250);
    EXPECT_EQ(row.bytes("resource").find("somebody-else"), std::string::npos);
    EXPECT_NE(row.bytes("resource").find("web-1"), std::string::npos);
    return {};
  });
}

TEST_F(IngestTest, CountsSpansAndLossesPerSession) {
  add_session(*pool, kSession, {kAgent, kOtherAgent});
  Ingest ingest(*pool, ignore);
  for (uint64_t number = 1; number <= 3; ++number) {
    UploadRequest request = batch_of(number, {{.span = number}, {.span = 100 + number}});
    auto& loss = *request.add_losses();
    loss.set_reason("RING_FULL");
    loss.set_count(5);
    EXPECT_EQ(upload(ingest, request).outcome(), UploadResponse::ACCEPTED);
    EXPECT_EQ(upload(ingest, request, kOtherAgent).outcome(), UploadResponse::ACCEPTED);
  }

  const auto totals = in_transaction(*pool, [](Transaction& tx) {
    return store::find_session_totals(tx, {kSession, kOtherSession});
  });

  ASSERT_EQ(totals.size(), 1u);
  EXPECT_EQ(totals.at(kSession).spans, 12u);
  EXPECT_EQ(totals.at(kSession).losses.at("RING_FULL"), 30u);
  EXPECT_EQ(number(*pool, "select count(*) from spans"), 12);
}

TEST_F(IngestTest, AnswersAResentBatchWithDuplicateAndStoresItOnce) {
  add_session(*pool, kSession, {kAgent});
  Ingest ingest(*pool, ignore);
  const UploadRequest request = batch_of(1, {{.span = 1}});

  EXPECT_EQ(upload(ingest, request).outcome(), UploadResponse::ACCEPTED);
  EXPECT_EQ(upload(ingest, request).outcome(), UploadResponse::DUPLICATE);

  EXPECT_EQ(number(*pool, "select count(*) from spans"), 1);
  EXPECT_EQ(number(*pool, "select sum(spans) from session_spans"), 1);
}

TEST_F(IngestTest, TwoReplicasThatRaceStoreEveryBatchOnce) {
  add_session(*pool, kSession, {kAgent});
  auto other_pool = database.pool();
  Ingest one(*pool, ignore), other(*other_pool, ignore);
  constexpr uint64_t kBatches = 200;
  std::mutex mutex;
  std::map<uint64_t, std::vector<UploadResponse::Outcome>> outcomes;
  std::atomic<int> pending = 0;
  const auto done = [&](UploadResponse response) {
    std::lock_guard lock(mutex);
    outcomes[response.batch()].push_back(response.outcome());
    --pending;
  };

  // One sends forwards and the other backwards: groups that overlap in opposite order.
  for (uint64_t i = 0; i < kBatches; ++i) {
    pending += 2;
    one.submit(kAgent, batch_of(i + 1, {{.span = i + 1}}).SerializeAsString(), done);
    other.submit(
        kAgent, batch_of(kBatches - i, {{.span = kBatches - i}}).SerializeAsString(), done);
  }
  for (int i = 0; i < 3000 && pending > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));

  ASSERT_EQ(pending, 0);
  for (auto& [batch, pair] : outcomes) {
    std::sort(pair.begin(), pair.end());
    EXPECT_EQ(pair, (std::vector{UploadResponse::ACCEPTED, UploadResponse::DUPLICATE})) << batch;
  }
  EXPECT_EQ(number(*pool, "select count(*) from spans"), static_cast<int64_t>(kBatches));
  EXPECT_EQ(number(*pool, "select sum(spans) from session_spans"), static_cast<int64_t>(kBatches));
  const uint64_t transactions = one.stats().transactions + other.stats().transactions;
  EXPECT_GT(transactions, 0u);
  EXPECT_LT(transactions, kBatches) << "what waits together is stored together";
}

TEST_F(IngestTest, ABatchWhoseReplicaDiesBetweenCommitAndAnswerIsADuplicateForTheNext) {
  add_session(*pool, kSession, {kAgent});
  const UploadRequest request = batch_of(1, {{.span = 1}});
  // The child commits and dies in the listener, before it answers.
  const pid_t child = fork();
  if (child == 0) {
    alarm(60); // a child that hangs fails the test, and does not outlive it
    auto own_pool = database.pool();
    Ingest ingest(*own_pool, [](const StoredBatch&) { _exit(42); });
    ingest.submit(kAgent, request.SerializeAsString(), [](UploadResponse) { _exit(1); });
    pause();
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 42);

  Ingest ingest(*pool, ignore);

  EXPECT_EQ(upload(ingest, request).outcome(), UploadResponse::DUPLICATE);
  EXPECT_EQ(number(*pool, "select count(*) from spans"), 1);
}

TEST_F(IngestTest, RefusesResultsForASessionThatTheAgentDoesNotHave) {
  add_session(*pool, kSession, {kAgent});
  Ingest ingest(*pool, ignore);

  for (const UploadResponse& response :
       {upload(ingest, batch_of(1, {{}}), kOtherAgent),
        upload(ingest, batch_of(2, {{}}, kOtherSession))}) {
    EXPECT_EQ(response.outcome(), UploadResponse::REFUSED);
    EXPECT_EQ(response.reason(), "SESSION_NOT_ASSIGNED");
  }
  EXPECT_EQ(number(*pool, "select count(*) from spans"), 0);
  EXPECT_EQ(number(*pool, "select count(*) from result_batches"), 0);
}

TEST_F(IngestTest, RefusesWhatIsNoBatchAndCountsSpansThatAreNone) {
  add_session(*pool, kSession, {kAgent});
  Ingest ingest(*pool, ignore);
  UploadRequest no_boot = batch_of(1, {{}});
  no_boot.clear_boot_id();
  EXPECT_EQ(upload(ingest, no_boot).reason(), "MALFORMED_BATCH");
  EXPECT_EQ(upload(ingest, batch_of(1, {{}}, "no uuid")).reason(), "MALFORMED_BATCH");

  UploadRequest mixed = batch_of(2, {{.span = 1}, {.span = 2}, {.span = 3}, {.span = 4}});
  auto& spans =
      *mixed.mutable_traces()->mutable_resource_spans(0)->mutable_scope_spans(0)->mutable_spans();
  spans[0].set_trace_id("short");
  spans[2].clear_span_id();
  spans[3].set_name(std::string(5000, 'x'));
  EXPECT_EQ(upload(ingest, mixed).outcome(), UploadResponse::ACCEPTED);

  const auto totals = in_transaction(
      *pool, [](Transaction& tx) { return store::find_session_totals(tx, {kSession}); });
  EXPECT_EQ(totals.at(kSession).spans, 1u);
  EXPECT_EQ(totals.at(kSession).losses.at("INVALID_SPAN"), 3u);
}

TEST_F(IngestTest, QueuesForExportWithoutKeepingSpansWhenTheSessionSaysSo) {
  sonde::v1::Export where;
  where.set_store(false);
  where.add_otlp("default");
  add_session(*pool, kSession, {kAgent}, where);
  std::string traces;
  Ingest ingest(*pool, [&](const StoredBatch& batch) {
    EXPECT_FALSE(batch.kept);
    EXPECT_TRUE(batch.exported);
    traces = batch.traces;
  });

  EXPECT_EQ(
      upload(ingest, batch_of(1, {{.span = 1}, {.span = 2}})).outcome(), UploadResponse::ACCEPTED);

  EXPECT_EQ(number(*pool, "select count(*) from spans"), 0);
  EXPECT_EQ(number(*pool, "select sum(spans) from export_batches"), 2);
  EXPECT_EQ(number(*pool, "select sum(spans) from session_spans"), 2);
  TracesData data;
  ASSERT_TRUE(data.ParseFromString(traces));
  EXPECT_EQ(data.resource_spans(0).scope_spans(0).spans_size(), 2);
  EXPECT_EQ(data.resource_spans(0).scope_spans(0).scope().name(), "sonde");
}

TEST_F(IngestTest, TellsAgentsToComeAgainWhenTheStoreIsAway) {
  add_session(*pool, kSession, {kAgent});
  store::PoolOptions options;
  options.acquire_timeout = std::chrono::milliseconds(200);
  auto own_pool = database.pool(options);
  Ingest ingest(*own_pool, ignore);
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec("alter table result_batches rename to away"));
    return {};
  });

  const UploadResponse response = upload(ingest, batch_of(1, {{}}));

  EXPECT_EQ(response.outcome(), UploadResponse::RETRY);
  EXPECT_TRUE(response.has_retry_after());
}

TEST_F(IngestTest, PreparesTheDayBeforeTheFirstBatch) {
  add_session(*pool, kSession, {kAgent});
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    const auto days = TRY(tx.exec("select inhrelid::regclass::text as day from pg_inherits "
                                  "where inhparent in ('spans'::regclass, 'resources'::regclass)"));
    for (const auto row : days) TRY(tx.exec("drop table " + row.text("day")));
    return {};
  });

  Ingest ingest(*pool, ignore);

  EXPECT_EQ(upload(ingest, batch_of(1, {{}})).outcome(), UploadResponse::ACCEPTED);
}

TEST_F(IngestTest, DropsDaysThatAreTooOldAndPreparesThoseToCome) {
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec("create table spans_20200101 partition of spans for values from ('2020-01-01') to "
                "('2020-01-02')"));
    TRY(tx.exec(
        "insert into result_batches values ($1::uuid, 'b', 1, $2::uuid, 1, now() - interval '3 "
        "days')",
        kAgent, kSession));
    return {};
  });

  const auto dropped = in_transaction(
      *pool, [](Transaction& tx) { return store::maintain_results(tx, {.days_ahead = 5}); });

  EXPECT_EQ(dropped.days, std::vector<std::string>{"spans_20200101"});
  EXPECT_EQ(number(*pool, "select count(*) from result_batches"), 0);
  EXPECT_EQ(
      number(*pool, "select count(*) from pg_inherits where inhparent = 'spans'::regclass"), 7);
  EXPECT_TRUE(in_transaction(*pool, [](Transaction& tx) {
                return store::maintain_results(tx, {.days_ahead = 5});
              }).days.empty());
}

TEST_F(IngestTest, DeletesEndedSessionsAndAuditEventsThatAreTooOld) {
  const auto insert_session = [&](const std::string& id, const std::string& ended) {
    add_session(*pool, id, {kAgent});
    in_transaction(*pool, [&](Transaction& tx) {
      return tx.exec(
          "update sessions set state = 'SUCCEEDED', create_time = now() - interval '90 days', "
          "end_time = now() - $2::interval where id = $1::uuid",
          id, ended);
    });
  };
  insert_session(kSession, "31 days");
  insert_session(kOtherSession, "29 days");
  const std::string running = "cccccccc-cccc-4ccc-8ccc-cccccccccccc";
  add_session(*pool, running, {kAgent});
  in_transaction(*pool, [&](Transaction& tx) -> base::Result<> {
    TRY(tx.exec(
        "update sessions set create_time = now() - interval '90 days' where id = $1::uuid",
        running));
    TRY(tx.exec("insert into session_spans values ($1::uuid, $2::uuid, 5)", kSession, kAgent));
    TRY(tx.exec("insert into audit_events (event_time, actor, method, decision) "
                "select now() - make_interval(days => d), 'ann', 'm', 'ALLOWED' "
                "from unnest(array[399, 401, 500]) as d"));
    return {};
  });

  const auto maintained =
      in_transaction(*pool, [](Transaction& tx) { return store::maintain_results(tx, {}); });

  EXPECT_EQ(maintained.sessions, 1U);
  EXPECT_EQ(maintained.audit_events, 2U);
  EXPECT_FALSE(maintained.more);
  EXPECT_EQ(number(*pool, "select count(*) from sessions"), 2) << "the running one and the younger";
  EXPECT_EQ(number(*pool, "select count(*) from assignment_statuses"), 2);
  EXPECT_EQ(number(*pool, "select count(*) from session_spans"), 0);
  EXPECT_EQ(number(*pool, "select count(*) from audit_events"), 1);
}

TEST_F(IngestTest, ASessionStaysAsLongAsItsSpans) {
  add_session(*pool, kSession, {kAgent});
  in_transaction(*pool, [&](Transaction& tx) {
    return tx.exec("update sessions set state = 'SUCCEEDED', end_time = now() - interval '7 days'");
  });

  const auto maintained = in_transaction(*pool, [](Transaction& tx) {
    return store::maintain_results(tx, {.span_days = 7, .session_days = 1});
  });

  EXPECT_EQ(maintained.sessions, 0U);
}

} // namespace
