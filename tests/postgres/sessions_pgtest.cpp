#include "controlplane/store/sessions.h"

#include "controlplane/store/assignments.h"
#include "controlplane/store/batches.h"
#include "tests/postgres/matchers.h"
#include "tests/postgres/postgres_fixture.h"

#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <set>

namespace {

using namespace postgres_fixture;
using namespace controlplane::store;
using google::protobuf::util::TimeUtil;
using sonde::v1::AssignmentStatus;
using sonde::v1::Reason;
using sonde::v1::Session;
using testing::IsEmpty;
using testing::SizeIs;

class Sessions : public testing::Test {
 protected:
  Result<CreatedSession> create(
      const Session& session = some_session(), const std::string& request_id = "",
      const std::string& caller = "ann") {
    return pool->transaction([&](Transaction& tx) {
      return create_session(tx, {session, caller, request_id});
    });
  }
  std::string new_session(int max_hosts = 0) {
    auto created = create(some_session(max_hosts));
    EXPECT_THAT(created, IsOk());
    return created->session.id();
  }
  Result<Session> get(const std::string& id) {
    return pool->transaction([&](Transaction& tx) { return find_session(tx, id); });
  }
  Session::State state(const std::string& id) { return get(id)->state(); }
  std::vector<std::string> assign(const std::string& id, const std::vector<std::string>& agents) {
    auto added = pool->transaction([&](Transaction& tx) { return assign_agents(tx, id, agents); });
    EXPECT_THAT(added, IsOk());
    return *added;
  }
  void
  say(const std::string& id, const std::string& agent, AssignmentStatus::State said,
      Reason::Code reason = Reason::CODE_UNSPECIFIED) {
    AssignmentStatus status;
    status.set_state(said);
    status.set_reason(reason);
    if (said == AssignmentStatus::ACTIVE) {
      auto* probe = status.add_probes();
      probe->set_pid(7);
      probe->set_state(said);
      status.mutable_usage()->set_events(10);
    }
    auto written = pool->transaction([&](Transaction& tx) {
      return write_statuses(tx, {{id, agent, status}});
    });
    EXPECT_THAT(written, IsOk());
  }
  std::vector<std::string> advance(std::chrono::milliseconds stop_timeout = 1h) {
    auto moved =
        pool->transaction([&](Transaction& tx) { return advance_sessions(tx, stop_timeout); });
    EXPECT_THAT(moved, IsOk());
    return *moved;
  }
  Result<Session> stop(const std::string& id) {
    return pool->transaction([&](Transaction& tx) { return stop_session(tx, id); });
  }
  Result<Session> cancel(const std::string& id) {
    return pool->transaction([&](Transaction& tx) { return cancel_session(tx, id); });
  }
  Result<> remove(const std::string& id, const std::string& etag = "") {
    return pool->transaction([&](Transaction& tx) { return delete_session(tx, id, etag); });
  }
  Result<sonde::v1::ListSessionsResponse>
  list(int size, const std::string& token = "", const std::string& filter = "") {
    sonde::v1::ListSessionsRequest request;
    request.set_page_size(size);
    request.set_page_token(token);
    request.set_filter(filter);
    return pool->transaction([&](Transaction& tx) { return list_sessions(tx, request); });
  }

  ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
};

TEST_F(Sessions, AreStoredAsTheirAuthorWroteThem) {
  Session asked = some_session(7);
  asked.mutable_sampling()->set_ratio(0.25);
  asked.mutable_budget()->set_events_per_second(9);

  auto created = create(asked);
  auto found = get(created->session.id());

  ASSERT_THAT(found, IsOk());
  EXPECT_EQ(found->state(), Session::SCHEDULED);
  EXPECT_EQ(found->selector().max_hosts(), 7);
  EXPECT_EQ(found->sampling().ratio(), 0.25);
  EXPECT_EQ(found->budget().events_per_second(), 9);
  EXPECT_TRUE(found->probes(0).has_http());
  EXPECT_EQ(found->created_by(), "ann");
  EXPECT_EQ(found->etag(), "1");
  auto runs = found->expire_time() - found->create_time();
  EXPECT_EQ(TimeUtil::DurationToSeconds(runs), 300);
  EXPECT_FALSE(found->has_start_time());
}

TEST_F(Sessions, AreNotFoundByAnUnknownOrMalformedId) {
  EXPECT_THAT(get(base::new_uuid()), IsError("SESSION_NOT_FOUND"));
  EXPECT_THAT(get("'; drop table sessions"), IsError("SESSION_NOT_FOUND"));
  EXPECT_THAT(get(""), IsError("SESSION_NOT_FOUND"));
  EXPECT_THAT(stop("x"), IsError("SESSION_NOT_FOUND"));
  EXPECT_THAT(remove("x"), IsError("SESSION_NOT_FOUND"));
}

TEST_F(Sessions, AreCreatedOncePerRequestId) {
  auto first = create(some_session(), "request-1");
  auto again = create(some_session(), "request-1");
  auto other_caller = create(some_session(), "request-1", "bob");
  auto other_session = create(some_session(3), "request-1");

  EXPECT_FALSE(first->repeated);
  EXPECT_TRUE(again->repeated);
  EXPECT_EQ(again->session.id(), first->session.id());
  EXPECT_NE(other_caller->session.id(), first->session.id());
  EXPECT_THAT(other_session, IsError("REQUEST_ID_REUSED"));
}

TEST_F(Sessions, AreCreatedOnceWhenTheSameRequestRaces) {
  std::vector<std::jthread> callers;
  std::mutex mutex;
  std::set<std::string> ids;
  int fresh = 0;
  for (int i = 0; i < 6; ++i)
    callers.emplace_back([&] {
      auto created = create(some_session(), "same");
      std::lock_guard lock(mutex);
      ASSERT_THAT(created, IsOk());
      ids.insert(created->session.id());
      fresh += !created->repeated;
    });
  for (auto& caller : callers) caller.join();

  EXPECT_THAT(ids, SizeIs(1));
  EXPECT_EQ(fresh, 1);
}

TEST_F(Sessions, AreListedInPagesNewestFirst) {
  std::vector<std::string> created;
  for (int i = 0; i < 5; ++i) created.push_back(new_session());
  std::reverse(created.begin(), created.end());

  std::vector<std::string> listed;
  std::string token;
  int pages = 0;
  do {
    auto page = list(2, token);
    ASSERT_THAT(page, IsOk());
    for (const auto& session : page->sessions()) listed.push_back(session.id());
    if (++pages == 1) new_session(); // what comes meanwhile does not shift the pages
    token = page->next_page_token();
  } while (!token.empty());

  EXPECT_EQ(pages, 3);
  EXPECT_EQ(listed, created);
}

TEST_F(Sessions, AreFiltered) {
  new_session();
  auto cancelled = new_session();
  ASSERT_THAT(cancel(cancelled), IsOk());
  ASSERT_THAT(create(some_session(), "", "bob"), IsOk());

  EXPECT_THAT(list(10, "", "state = \"CANCELLED\"")->sessions(), SizeIs(1));
  EXPECT_THAT(list(10, "", "state = SCHEDULED AND created_by = ann")->sessions(), SizeIs(1));
  EXPECT_THAT(list(10, "", "created_by != ann")->sessions(), SizeIs(1));
  EXPECT_THAT(list(10, "", "create_time > \"2020-01-01T00:00:00Z\"")->sessions(), SizeIs(3));
  EXPECT_THAT(list(10, "", "expire_time < \"2020-01-01T00:00:00Z\"")->sessions(), IsEmpty());
  EXPECT_THAT(list(10, "", "created_by = \"' or 1=1 --\"")->sessions(), IsEmpty());
  EXPECT_THAT(list(10, "", "id = x"), IsError("INVALID_FILTER"));
  auto page = list(1, "", "created_by = ann");
  EXPECT_THAT(list(1, page->next_page_token(), "created_by = bob"), IsError("INVALID_PAGE_TOKEN"));
  EXPECT_THAT(list(-1), IsError("PAGE_SIZE_NEGATIVE"));
}

TEST_F(Sessions, TellOfARaceByEtag) {
  auto id = new_session();
  Session read = *get(id);
  auto write = [&](double ratio, const std::string& etag) {
    Session changed = read;
    changed.mutable_sampling()->set_ratio(ratio);
    return pool->transaction([&](Transaction& tx) { return write_session(tx, changed, etag); });
  };

  auto first = write(0.5, read.etag());
  auto second = write(0.1, read.etag());

  ASSERT_THAT(first, IsOk());
  EXPECT_NE(first->etag(), read.etag());
  EXPECT_THAT(second, IsError("ETAG_MISMATCH"));
  EXPECT_EQ(second.error().code, base::Code::kAborted);
  EXPECT_EQ(get(id)->sampling().ratio(), 0.5);
  EXPECT_EQ(
      TimeUtil::TimestampToNanoseconds(get(id)->expire_time()),
      TimeUtil::TimestampToNanoseconds(read.expire_time()));
}

TEST_F(Sessions, LetOneOfManyWritersWithTheSameEtagWin) {
  auto id = new_session();
  Session read = *get(id);
  std::atomic<int> won = 0, lost = 0;
  std::vector<std::jthread> writers;
  for (int i = 0; i < 6; ++i)
    writers.emplace_back([&] {
      auto written =
          pool->transaction([&](Transaction& tx) { return write_session(tx, read, read.etag()); });
      if (written.ok()) ++won;
      if (!written.ok() && written.error().reason == "ETAG_MISMATCH") ++lost;
    });
  for (auto& writer : writers) writer.join();

  EXPECT_EQ(won, 1);
  EXPECT_EQ(lost, 5);
}

TEST_F(Sessions, LiveFromScheduledToSucceeded) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  EXPECT_THAT(advance(), IsEmpty()) << "nothing to do without a host";

  assign(id, {agent});
  advance();
  EXPECT_EQ(state(id), Session::STARTING);
  say(id, agent, AssignmentStatus::ACTIVE);
  EXPECT_THAT(advance(), SizeIs(1));
  EXPECT_EQ(state(id), Session::ACTIVE);
  EXPECT_TRUE(get(id)->has_start_time());
  EXPECT_EQ(get(id)->summary().processes(), 1);
  EXPECT_EQ(get(id)->summary().usage().events(), 10u);

  EXPECT_EQ(stop(id)->state(), Session::STOPPING);
  advance();
  EXPECT_EQ(state(id), Session::STOPPING) << "a probe is still at work";
  say(id, agent, AssignmentStatus::REMOVED);
  advance();
  EXPECT_EQ(state(id), Session::SUCCEEDED);
  EXPECT_TRUE(get(id)->has_end_time());
  EXPECT_EQ(get(id)->summary().usage().events(), 10u) << "what it cost is still known";
  EXPECT_THAT(advance(), IsEmpty());
}

TEST_F(Sessions, DoNotWaitForeverForAHostThatIsSilent) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  assign(id, {agent});
  say(id, agent, AssignmentStatus::ACTIVE);
  ASSERT_THAT(stop(id), IsOk());

  advance(1h);
  EXPECT_EQ(state(id), Session::STOPPING);
  advance(0ms);
  EXPECT_EQ(state(id), Session::SUCCEEDED);
  EXPECT_EQ(get(id)->state_detail(), "1 of 1 hosts did not confirm the end");
}

TEST_F(Sessions, ExpireWhenTheirTimeIsOver) {
  Session brief = some_session();
  brief.clear_ttl();
  *brief.mutable_expire_time() = TimeUtil::GetCurrentTime() - TimeUtil::SecondsToDuration(1);
  auto id = create(brief)->session.id();

  advance();
  EXPECT_EQ(state(id), Session::STOPPING);
  advance();
  EXPECT_EQ(state(id), Session::EXPIRED);
  EXPECT_EQ(get(id)->state_detail(), "its time is over");
  EXPECT_THAT(stop(id), IsOk()) << "stopping what is over changes nothing";
  EXPECT_EQ(state(id), Session::EXPIRED);
}

TEST_F(Sessions, FailWhenEveryHostRefusedAndKeepTheReason) {
  auto id = new_session();
  auto one = add_agent(*pool), two = add_agent(*pool);
  assign(id, {one, two});
  say(id, one, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING);
  advance();
  EXPECT_EQ(state(id), Session::STARTING);
  say(id, two, AssignmentStatus::REJECTED, Reason::LAYOUT_MISSING);
  advance();
  EXPECT_EQ(get(id)->state_detail(), "every host refused it: LAYOUT_MISSING");
  say(id, one, AssignmentStatus::REMOVED);
  say(id, two, AssignmentStatus::REMOVED);
  advance();

  auto session = get(id);
  EXPECT_EQ(session->state(), Session::FAILED);
  EXPECT_EQ(session->state_detail(), "every host refused it: LAYOUT_MISSING");
  ASSERT_THAT(session->summary().reasons(), SizeIs(1));
  EXPECT_EQ(session->summary().reasons(0).reason(), Reason::LAYOUT_MISSING);
  EXPECT_EQ(session->summary().reasons(0).hosts(), 2);
}

TEST_F(Sessions, CanBeCancelledAtOnceAndOnlyOnce) {
  auto id = new_session();

  EXPECT_EQ(cancel(id)->state(), Session::CANCELLED);
  EXPECT_EQ(cancel(id)->state(), Session::CANCELLED);
  EXPECT_EQ(stop(id)->state(), Session::CANCELLED);
}

TEST_F(Sessions, AreAdvancedOnceByReplicasThatDoItTogether) {
  auto id = new_session();
  assign(id, {add_agent(*pool)});
  std::atomic<int> moved = 0;
  std::vector<std::jthread> replicas;
  for (int i = 0; i < 4; ++i)
    replicas.emplace_back([&] { moved += static_cast<int>(advance().size()); });
  for (auto& replica : replicas) replica.join();

  EXPECT_EQ(moved, 1);
  EXPECT_EQ(get(id)->etag(), "2");
}

TEST_F(Sessions, RunLongerWhenExtended) {
  auto id = new_session();
  auto before = get(id)->expire_time();

  auto extended = pool->transaction([&](Transaction& tx) { return extend_session(tx, id, 1000s); });

  ASSERT_THAT(extended, IsOk());
  EXPECT_GE(TimeUtil::DurationToSeconds(extended->expire_time() - before), 690);
  ASSERT_THAT(cancel(id), IsOk());
  EXPECT_THAT(
      pool->transaction([&](Transaction& tx) { return extend_session(tx, id, 1000s); }),
      IsError("SESSION_ENDED"));
}

TEST_F(Sessions, AreDeletedOnlyWhenTheyAreOver) {
  auto id = new_session();
  assign(id, {add_agent(*pool)});

  EXPECT_THAT(remove(id), IsError("SESSION_RUNNING"));
  ASSERT_THAT(cancel(id), IsOk());
  EXPECT_THAT(remove(id, "1"), IsError("ETAG_MISMATCH"));
  EXPECT_THAT(remove(id), IsOk());
  EXPECT_THAT(get(id), IsError("SESSION_NOT_FOUND"));
  EXPECT_EQ(run(*pool, "select from assignment_statuses")->size(), 0);
}

TEST_F(Sessions, GiveNoMoreHostsThanMaxHostsAlsoWhenReplicasRace) {
  auto id = new_session(3);
  std::vector<std::string> agents;
  for (int i = 0; i < 12; ++i) agents.push_back(base::new_uuid());
  std::atomic<int> added = 0;
  std::vector<std::jthread> replicas;
  for (int i = 0; i < 4; ++i)
    replicas.emplace_back([&, i] {
      added +=
          static_cast<int>(assign(id, {agents.begin() + 3 * i, agents.begin() + 3 * i + 3}).size());
    });
  for (auto& replica : replicas) replica.join();

  EXPECT_EQ(added, 3);
  EXPECT_EQ(get(id)->summary().hosts(), 3);
}

TEST_F(Sessions, AreNotGivenToMoreHostsOnceTheyStop) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  EXPECT_THAT(assign(id, {agent}), SizeIs(1));
  EXPECT_THAT(assign(id, {agent}), IsEmpty());
  ASSERT_THAT(stop(id), IsOk());

  EXPECT_THAT(assign(id, {add_agent(*pool)}), IsEmpty());
  EXPECT_THAT(assign(base::new_uuid(), {agent}), IsEmpty());
}

TEST_F(Sessions, TakeResultsOnlyFromTheirAgentsAndNotForever) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  assign(id, {agent});
  auto accepts = [&](const std::string& session, const std::string& from) {
    auto route =
        pool->transaction([&](Transaction& tx) { return find_result_route(tx, session, from); });
    EXPECT_THAT(route, IsOk());
    return route->accepted;
  };

  EXPECT_TRUE(accepts(id, agent));
  EXPECT_FALSE(accepts(id, add_agent(*pool)));
  EXPECT_FALSE(accepts(base::new_uuid(), agent));
  ASSERT_THAT(stop(id), IsOk());
  advance(0ms);
  ASSERT_EQ(state(id), Session::SUCCEEDED);
  EXPECT_TRUE(accepts(id, agent)) << "an agent that was cut off is back soon";
  ASSERT_THAT(run(*pool, "update sessions set end_time = now() - interval '1 hour'"), IsOk());
  EXPECT_FALSE(accepts(id, agent));
  auto cancelled = new_session();
  assign(cancelled, {agent});
  ASSERT_THAT(cancel(cancelled), IsOk());
  EXPECT_FALSE(accepts(cancelled, agent));
}

TEST_F(Sessions, ShowEveryHostInPages) {
  auto id = new_session();
  std::set<std::string> agents{add_agent(*pool, "a"), add_agent(*pool, "b"), add_agent(*pool, "c")};
  assign(id, {agents.begin(), agents.end()});
  say(id, *agents.begin(), AssignmentStatus::ACTIVE);
  sonde::v1::ListSessionHostsRequest request;
  request.set_session_id(id);
  request.set_page_size(2);
  auto page = [&] {
    return pool->transaction([&](Transaction& tx) { return list_session_hosts(tx, request); });
  };

  auto first = page();
  request.set_page_token(first->next_page_token());
  auto second = page();

  ASSERT_THAT(first->hosts(), SizeIs(2));
  ASSERT_THAT(second->hosts(), SizeIs(1));
  EXPECT_EQ(first->hosts(0).agent_id(), *agents.begin());
  EXPECT_EQ(first->hosts(0).status().state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(first->hosts(0).status().probes(0).pid(), 7u);
  EXPECT_EQ(first->hosts(1).status().state(), AssignmentStatus::PENDING);
  EXPECT_NE(first->hosts(0).hostname(), "");
  EXPECT_EQ(second->next_page_token(), "");
  request.set_session_id(base::new_uuid());
  request.clear_page_token();
  EXPECT_THAT(page(), IsError("SESSION_NOT_FOUND"));
}

TEST_F(Sessions, TakeABatchOfStatusesOfWhichTheLastCounts) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  assign(id, {agent});
  AssignmentStatus applying, active;
  applying.set_state(AssignmentStatus::APPLYING);
  active.set_state(AssignmentStatus::ACTIVE);
  active.set_detail("it's \"fine\\\", {really}");

  auto written = pool->transaction([&](Transaction& tx) {
    return write_statuses(
        tx, {{id, agent, applying}, {id, base::new_uuid(), active}, {id, agent, active}});
  });

  ASSERT_THAT(written, IsOk());
  EXPECT_EQ(*written, 1) << "an agent without the assignment cannot report";
  sonde::v1::ListSessionHostsRequest request;
  request.set_session_id(id);
  auto hosts = pool->transaction([&](Transaction& tx) { return list_session_hosts(tx, request); });
  EXPECT_EQ(hosts->hosts(0).status().state(), AssignmentStatus::ACTIVE);
  EXPECT_EQ(hosts->hosts(0).status().detail(), active.detail());
}

TEST_F(Sessions, ShowHostsThatWentOfflineAndForgetNoRefusal) {
  auto id = new_session();
  auto active = add_agent(*pool), refused = add_agent(*pool);
  assign(id, {active, refused});
  say(id, active, AssignmentStatus::ACTIVE);
  say(id, refused, AssignmentStatus::REJECTED, Reason::KERNEL_UNSUPPORTED);

  auto changed = pool->transaction([&](Transaction& tx) {
    return write_state(tx, {active, refused}, AssignmentStatus::OFFLINE);
  });

  EXPECT_EQ(*changed, 1);
  auto summary = get(id)->summary();
  ASSERT_THAT(summary.states(), SizeIs(2));
  EXPECT_EQ(summary.states(0).state(), AssignmentStatus::REJECTED);
  EXPECT_EQ(summary.states(1).state(), AssignmentStatus::OFFLINE);
  EXPECT_EQ(summary.processes(), 0);
}

TEST_F(Sessions, CountSpansOnceAndLossesByTheLargerOfTwoReports) {
  auto id = new_session();
  auto agent = add_agent(*pool);
  assign(id, {agent});
  AssignmentStatus status;
  status.set_state(AssignmentStatus::ACTIVE);
  for (auto [reason, count] : {std::pair{"RING_FULL", 5}, {"HEAD_TRUNCATED", 1}}) {
    auto* loss = status.mutable_usage()->add_losses();
    loss->set_reason(reason);
    loss->set_count(static_cast<uint64_t>(count));
  }
  auto written = pool->transaction([&](Transaction& tx) -> Result<> {
    TRY(write_statuses(tx, {{id, agent, status}}));
    return add_session_counts(
        tx, {{id, agent, "", 40},
             {id, agent, "", 2},
             {id, agent, "RING_FULL", 3},
             {id, agent, "SPOOL_FULL", 7}});
  });
  ASSERT_THAT(written, IsOk());

  auto summary = get(id)->summary();

  EXPECT_EQ(summary.spans(), 42u);
  sonde::v1::ListSessionHostsRequest request;
  request.set_session_id(id);
  auto hosts = pool->transaction([&](Transaction& tx) { return list_session_hosts(tx, request); });
  ASSERT_THAT(hosts, IsOk());
  for (const auto& usage : {summary.usage(), hosts->hosts(0).status().usage()}) {
    std::map<std::string, uint64_t> losses;
    for (const auto& loss : usage.losses()) losses[loss.reason()] = loss.count();
    EXPECT_THAT(
        losses, testing::UnorderedElementsAre(
                    testing::Pair("RING_FULL", 5), testing::Pair("HEAD_TRUNCATED", 1),
                    testing::Pair("SPOOL_FULL", 7)));
  }
  EXPECT_EQ(list(1)->sessions(0).summary().spans(), 42u);
}

TEST_F(Sessions, AddUpTheLossesOfTheirHosts) {
  auto id = new_session();
  auto late = add_agent(*pool), early = add_agent(*pool);
  assign(id, {late, early});
  const auto losing = [](uint64_t lost) {
    AssignmentStatus status;
    status.set_state(AssignmentStatus::ACTIVE);
    auto* loss = status.mutable_usage()->add_losses();
    loss->set_reason("RING_FULL");
    loss->set_count(lost);
    return status;
  };
  auto written = pool->transaction([&](Transaction& tx) -> Result<> {
    TRY(write_statuses(tx, {{id, late, losing(5)}, {id, early, losing(1)}}));
    return add_session_counts(tx, {{id, late, "RING_FULL", 3}, {id, early, "RING_FULL", 4}});
  });
  ASSERT_THAT(written, IsOk());

  const auto usage = get(id)->summary().usage();

  ASSERT_THAT(usage.losses(), SizeIs(1));
  EXPECT_EQ(usage.losses(0).count(), 5U + 4U);
}

TEST_F(Sessions, AreLiveUntilTheyAreOver) {
  auto one = new_session(), two = new_session();
  auto agent = add_agent(*pool);
  assign(one, {agent});
  assign(two, {agent});
  ASSERT_THAT(cancel(two), IsOk());

  auto live = pool->transaction([](Transaction& tx) { return find_live_sessions(tx); });
  auto assignees = pool->transaction([&](Transaction& tx) { return find_assignees(tx, {agent}); });
  auto found = pool->transaction([&](Transaction& tx) {
    return find_sessions(tx, {one, two, base::new_uuid(), "x"});
  });

  ASSERT_THAT(*live, SizeIs(1));
  EXPECT_EQ(live->front().id(), one);
  ASSERT_THAT(*assignees, SizeIs(1));
  EXPECT_EQ(assignees->front().session_id, one);
  EXPECT_THAT(*found, SizeIs(2));
}

} // namespace
