// Sampling rules, offset tables, processes and the audit log.
#include "base/hex.h"
#include "controlplane/store/audit_events.h"
#include "controlplane/store/offset_tables.h"
#include "controlplane/store/processes.h"
#include "controlplane/store/sampling_rules.h"
#include "tests/postgres/matchers.h"
#include "tests/postgres/postgres_fixture.h"

#include <gtest/gtest.h>

namespace {

using namespace postgres_fixture;
using namespace controlplane::store;
using sonde::v1::OffsetTable;
using sonde::v1::Process;
using sonde::v1::ProcessReport;
using sonde::v1::SamplingRule;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Policy : testing::Test {
  template <class Body> auto in_transaction(Body body) { return pool->transaction(body); }

  ScopedDatabase database;
  std::unique_ptr<Pool> pool = database.pool();
};

SamplingRule half(const std::string& name) {
  SamplingRule rule;
  rule.set_display_name(name);
  rule.mutable_selector()->set_service("checkout");
  rule.set_ratio(0.5);
  return rule;
}

TEST_F(Policy, KeepsRulesWithEtagsAndRequestIds) {
  auto create = [&](const SamplingRule& rule, const std::string& request_id) {
    return in_transaction(
        [&](Transaction& tx) { return create_sampling_rule(tx, rule, "ann", request_id); });
  };
  auto created = create(half("a"), "r1");
  ASSERT_THAT(created, IsOk());
  EXPECT_EQ(create(half("a"), "r1")->id(), created->id());
  EXPECT_THAT(create(half("b"), "r1"), IsError("REQUEST_ID_REUSED"));

  SamplingRule changed = *created;
  changed.clear_ratio();
  changed.set_disabled(true);
  auto write = [&](const std::string& etag) {
    return in_transaction([&](Transaction& tx) { return write_sampling_rule(tx, changed, etag); });
  };
  EXPECT_THAT(
      in_transaction([](Transaction& tx) { return find_enabled_sampling_rules(tx); }).value(),
      SizeIs(1));
  auto written = write(created->etag());
  ASSERT_THAT(written, IsOk());
  EXPECT_FALSE(written->has_ratio());
  EXPECT_EQ(written->created_by(), "ann");
  EXPECT_THAT(write(created->etag()), IsError("ETAG_MISMATCH"));
  EXPECT_THAT(
      in_transaction([](Transaction& tx) { return find_enabled_sampling_rules(tx); }).value(),
      IsEmpty());

  auto remove = [&](const std::string& id, const std::string& etag) {
    return in_transaction([&](Transaction& tx) { return delete_sampling_rule(tx, id, etag); });
  };
  EXPECT_THAT(remove(created->id(), "1"), IsError("ETAG_MISMATCH"));
  EXPECT_THAT(remove(created->id(), "2"), IsOk());
  EXPECT_THAT(remove(created->id(), ""), IsError("SAMPLING_RULE_NOT_FOUND"));
  EXPECT_THAT(remove("x", ""), IsError("SAMPLING_RULE_NOT_FOUND"));
}

TEST_F(Policy, ListsRulesInPages) {
  for (const char* name : {"a", "b", "c"})
    ASSERT_THAT(
        in_transaction(
            [&](Transaction& tx) { return create_sampling_rule(tx, half(name), "ann", ""); }),
        IsOk());
  sonde::v1::ListSamplingRulesRequest request;
  request.set_page_size(2);
  auto page = [&] {
    return in_transaction([&](Transaction& tx) { return list_sampling_rules(tx, request); });
  };

  auto first = page();
  request.set_page_token(first->next_page_token());
  auto second = page();

  EXPECT_EQ(first->sampling_rules(0).display_name(), "c");
  EXPECT_EQ(first->sampling_rules(1).display_name(), "b");
  ASSERT_THAT(second->sampling_rules(), SizeIs(1));
  EXPECT_EQ(second->sampling_rules(0).display_name(), "a");
  EXPECT_EQ(second->next_page_token(), "");
  request.set_page_token("zz");
  EXPECT_THAT(page(), IsError("INVALID_PAGE_TOKEN"));
}

OffsetTable layout(const std::string& version) {
  OffsetTable table;
  table.set_go_version(version);
  table.set_architecture("amd64");
  auto* field = table.add_fields();
  field->set_type("runtime.g");
  field->set_field("goid");
  field->set_offset_bytes(152);
  return table;
}

TEST_F(Policy, KeepsOneOffsetTablePerVersion) {
  auto create = [&](const std::string& version, const std::string& request_id) {
    return in_transaction([&](Transaction& tx) {
      return create_offset_table(tx, layout(version), "ann", request_id);
    });
  };
  auto created = create("go1.22.12", "r1");
  ASSERT_THAT(created, IsOk());
  EXPECT_EQ(create("go1.22.12", "r1")->id(), created->id());
  EXPECT_THAT(create("go1.22.12", ""), IsError("OFFSET_TABLE_EXISTS"));
  EXPECT_THAT(create("go1.26.0", "r1"), IsError("REQUEST_ID_REUSED"));

  auto found = in_transaction([](Transaction& tx) { return find_offset_tables(tx); });

  ASSERT_THAT(*found, SizeIs(1));
  EXPECT_EQ(found->front().fields(0).offset_bytes(), 152u);
  EXPECT_THAT(
      in_transaction([&](Transaction& tx) { return delete_offset_table(tx, created->id(), "1"); }),
      IsOk());
  EXPECT_THAT(
      in_transaction([&](Transaction& tx) { return find_offset_table(tx, created->id()); }),
      IsError("OFFSET_TABLE_NOT_FOUND"));
}

TEST_F(Policy, CountsTheAgentsThatReadTheSame) {
  auto table = in_transaction(
      [](Transaction& tx) { return create_offset_table(tx, layout("go1.22.12"), "ann", ""); });
  ASSERT_THAT(table, IsOk());
  EXPECT_EQ(table->confirmations(), 0);
  const std::string one = add_agent(*pool), two = add_agent(*pool);
  auto say = [&](const std::string& agent, bool agrees) {
    EXPECT_THAT(
        in_transaction(
            [&](Transaction& tx) { return write_confirmation(tx, table->id(), agent, agrees); }),
        IsOk());
    return in_transaction([&](Transaction& tx) { return find_offset_table(tx, table->id()); })
        ->confirmations();
  };

  EXPECT_EQ(say(one, true), 1);
  EXPECT_EQ(say(one, true), 1) << "once per agent";
  EXPECT_EQ(say(two, true), 2);
  EXPECT_EQ(say(base::new_uuid(), true), 2) << "nobody knows this agent";
  EXPECT_EQ(say(two, false), 1);
  EXPECT_EQ(say("not an id", true), 1);
  EXPECT_THAT(
      in_transaction([&](Transaction& tx) {
        return tx.exec("update agents set standing = 'BANNED' where id = $1", one);
      }),
      IsOk());
  auto listed = in_transaction([](Transaction& tx) { return list_offset_tables(tx, {}); });
  EXPECT_EQ(listed->offset_tables(0).confirmations(), 0) << "a banned agent's word is nothing";
}

class Processes : public Policy {
 protected:
  static Process process(uint32_t pid, const std::string& service) {
    Process process;
    process.set_pid(pid);
    process.set_service(service);
    process.set_executable("/app/" + service);
    process.set_go_version("go1.22.12");
    return process;
  }
  void report(const std::string& agent, const ProcessReport& report) {
    ASSERT_THAT(
        in_transaction(
            [&](Transaction& tx) { return write_processes(tx, agent, "host-1", report); }),
        IsOk());
  }
  std::vector<uint32_t> pids(const std::string& agent, const std::string& filter = "") {
    sonde::v1::ListProcessesRequest request;
    request.set_agent_id(agent);
    request.set_filter(filter);
    auto listed = in_transaction([&](Transaction& tx) { return list_processes(tx, request); });
    EXPECT_THAT(listed, IsOk());
    std::vector<uint32_t> pids;
    for (const auto& each : listed->processes()) pids.push_back(each.pid());
    return pids;
  }
};

TEST_F(Processes, AreReplacedByAFullReportAndChangedByOthers) {
  auto agent = add_agent(*pool), other = add_agent(*pool);
  ProcessReport full;
  full.set_full(true);
  *full.add_started() = process(1, "checkout");
  *full.add_started() = process(2, "cart");
  report(agent, full);
  report(other, full);
  EXPECT_THAT(pids(agent), ElementsAre(1, 2));

  ProcessReport change;
  *change.add_started() = process(3, "cart");
  change.add_ended_pids(1);
  report(agent, change);
  EXPECT_THAT(pids(agent), ElementsAre(2, 3));
  EXPECT_THAT(pids(other), ElementsAre(1, 2));
  EXPECT_THAT(pids(""), SizeIs(4));
  auto known = in_transaction([&](Transaction& tx) { return find_agent(tx, agent); });
  EXPECT_EQ(known->health().processes(), 2U);

  ProcessReport nothing;
  nothing.set_full(true);
  report(agent, nothing);
  EXPECT_THAT(pids(agent), IsEmpty());
  EXPECT_THAT(pids("no-uuid"), IsEmpty());
}

TEST_F(Processes, KnowAReusedPidByItsLastReport) {
  auto agent = add_agent(*pool);
  ProcessReport change;
  *change.add_started() = process(7, "old");
  report(agent, change);
  change.add_ended_pids(7);
  *change.mutable_started(0) = process(7, "new");
  report(agent, change);

  EXPECT_THAT(pids(agent, "service = new"), ElementsAre(7));
  EXPECT_THAT(pids(agent, "service = old"), IsEmpty());
}

TEST_F(Processes, AreForgottenWithTheirAgent) {
  auto agent = add_agent(*pool);
  ProcessReport change;
  *change.add_started() = process(7, "checkout");
  report(agent, change);

  ASSERT_THAT(
      in_transaction([&](Transaction& tx) { return set_standing(tx, agent, Standing::kEvicted); }),
      IsOk());

  EXPECT_THAT(pids(agent), IsEmpty());
}

TEST_F(Processes, SayTheAgentOfTheReportWhateverItClaims) {
  auto agent = add_agent(*pool);
  ProcessReport change;
  *change.add_started() = process(7, "checkout");
  change.mutable_started(0)->set_agent_id("forged");
  change.mutable_started(0)->set_hostname("forged");
  report(agent, change);
  sonde::v1::ListProcessesRequest request;

  auto listed = in_transaction([&](Transaction& tx) { return list_processes(tx, request); });

  EXPECT_EQ(listed->processes(0).agent_id(), agent);
  EXPECT_EQ(listed->processes(0).hostname(), "host-1");
}

TEST_F(Processes, AreCountedBySelectorForADryRun) {
  auto one = add_agent(*pool), two = add_agent(*pool), three = add_agent(*pool);
  ProcessReport change;
  for (uint32_t pid : {1, 2}) *change.add_started() = process(pid, "checkout");
  *change.add_started() = process(3, "cart");
  report(one, change);
  report(two, change);
  auto count = [&](const std::string& service, const std::string& executable) {
    sonde::v1::Selector selector;
    selector.set_service(service);
    selector.set_executable(executable);
    auto matches = in_transaction([&](Transaction& tx) {
      return count_processes(tx, selector, {one, three});
    });
    int sum = 0;
    for (const auto& match : *matches) sum += match.processes;
    return sum;
  };

  EXPECT_EQ(count("", ""), 3);
  EXPECT_EQ(count("checkout", ""), 2);
  EXPECT_EQ(count("c*", "/app/c?rt"), 1);
  EXPECT_EQ(count("nothing", ""), 0);
}

TEST_F(Policy, AppendsToTheAuditLogInBatches) {
  std::vector<AuditEvent> events{
      {.actor = "ann",
       .method = "SessionService/CreateSession",
       .resource = "sessions/1",
       .allowed = true},
      {.actor = "anonymous",
       .method = "AgentService/BanAgent",
       .allowed = false,
       .code = base::Code::kUnauthenticated,
       .reason = "TOKEN_MISSING",
       .peer = "192.0.2.1"}};

  ASSERT_THAT(
      in_transaction([&](Transaction& tx) { return append_audit_events(tx, events); }), IsOk());

  auto rows = run(*pool, "select * from audit_events order by id");
  ASSERT_EQ(rows->size(), 2);
  EXPECT_EQ((*rows)[0].text("decision"), "ALLOWED");
  EXPECT_EQ((*rows)[1].text("decision"), "DENIED");
  EXPECT_EQ((*rows)[1].integer("code"), 16);
  EXPECT_EQ((*rows)[1].text("reason"), "TOKEN_MISSING");
}

} // namespace
