#include "controlplane/store/pool.h"

#include "tests/postgres/postgres_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace {

using namespace std::chrono_literals;
using base::Code;
using controlplane::store::Bytes;
using controlplane::store::Isolation;
using controlplane::store::Pool;
using controlplane::store::Result;
using controlplane::store::Row;
using controlplane::store::Rows;
using controlplane::store::Transaction;
using postgres_fixture::ScopedDatabase;
using testing::ElementsAre;

Result<void> execute(Pool& pool, const std::string& sql) {
  return pool.transaction([&](Transaction& tx) -> Result<void> {
    TRY(tx.exec(sql));
    return {};
  });
}

int64_t count(Pool& pool, const std::string& table) {
  auto n = pool.transaction([&](Transaction& tx) -> Result<int64_t> {
    return TRY(tx.exec("select count(*) as n from " + table)).front().integer("n");
  });
  return n.ok() ? *n : -1;
}

TEST(Pool, CarriesEveryTypeThereAndBack) {
  ScopedDatabase database;
  auto pool = database.pool();
  google::protobuf::Timestamp time;
  time.set_seconds(1'700'000'000);
  time.set_nanos(123'456'000);
  const std::string bytes("\0\xff\\x", 4), text = "a'b\"c\\d\nü";

  auto rows = pool->transaction([&](Transaction& tx) -> Result<Rows> {
    return tx.exec(
        "select $1::text as t, $2::bytea as b, $3::bigint as i, $4::double precision as d, "
        "$5::boolean as f, $6::timestamptz as w, $7::text[] as a, $8::text as n",
        text, Bytes{bytes}, int64_t{-7}, 0.1, true, time,
        std::vector<std::string>{"x", "", "y,\"\\{"}, nullptr);
  });

  ASSERT_TRUE(rows.ok()) << rows.error().message;
  Row row = rows->front();
  EXPECT_EQ(row.text("t"), text);
  EXPECT_EQ(row.bytes("b"), bytes);
  EXPECT_EQ(row.integer("i"), -7);
  EXPECT_EQ(row.real("d"), 0.1);
  EXPECT_TRUE(row.boolean("f"));
  EXPECT_EQ(row.timestamp("w").seconds(), time.seconds());
  EXPECT_EQ(row.timestamp("w").nanos(), time.nanos());
  EXPECT_THAT(row.texts("a"), ElementsAre("x", "", "y,\"\\{"));
  EXPECT_TRUE(row.is_null("n"));
}

TEST(Pool, CopiesRowsWithEveryAwkwardByte) {
  ScopedDatabase database;
  auto pool = database.pool();
  ASSERT_TRUE(execute(*pool, "create table t (a text, b bytea, c bigint)").ok());
  const std::string awkward = "tab\tnewline\nback\\slash\r", bytes("\0\t\n", 3);

  auto copied = pool->transaction([&](Transaction& tx) -> Result<void> {
    return tx.copy("t", {"a", "b", "c"}, {{awkward, Bytes{bytes}, 1}, {nullptr, nullptr, 2}});
  });

  ASSERT_TRUE(copied.ok()) << copied.error().message;
  auto rows = pool->transaction(
      [&](Transaction& tx) -> Result<Rows> { return tx.exec("select * from t order by c"); });
  ASSERT_EQ(rows->size(), 2);
  EXPECT_EQ((*rows)[0].text("a"), awkward);
  EXPECT_EQ((*rows)[0].bytes("b"), bytes);
  EXPECT_TRUE((*rows)[1].is_null("a"));
}

TEST(Pool, RollsBackWhenTheBodyReturnsAnError) {
  ScopedDatabase database;
  auto pool = database.pool();
  ASSERT_TRUE(execute(*pool, "create table t (a int)").ok());

  auto refused = pool->transaction([&](Transaction& tx) -> Result<void> {
    TRY(tx.exec("insert into t values (1)"));
    return base::not_found("NO_SUCH_THING", "changed our mind");
  });

  EXPECT_EQ(refused.error().reason, "NO_SUCH_THING");
  EXPECT_EQ(count(*pool, "t"), 0);
}

TEST(Pool, TurnsServerErrorsIntoReasons) {
  ScopedDatabase database;
  auto pool = database.pool(), impatient = database.pool({.statement_timeout = 200ms});
  ASSERT_TRUE(execute(*pool, "create table p (id int primary key check (id < 9))").ok());
  ASSERT_TRUE(execute(*pool, "create table c (id int references p)").ok());
  ASSERT_TRUE(execute(*pool, "insert into p values (1)").ok());
  auto reason = [&](const std::string& sql) { return execute(*pool, sql).error(); };

  EXPECT_EQ(reason("insert into p values (1)").reason, "ALREADY_EXISTS");
  EXPECT_EQ(reason("insert into p values (1)").code, Code::kAlreadyExists);
  EXPECT_EQ(reason("insert into p values (10)").reason, "VALUE_REFUSED");
  EXPECT_EQ(reason("insert into p values ('x')").reason, "VALUE_REFUSED");
  EXPECT_EQ(reason("insert into c values (7)").reason, "REFERENCE_MISSING");
  EXPECT_EQ(execute(*impatient, "select pg_sleep(60)").error().reason, "STORE_TIMEOUT");
  EXPECT_EQ(reason("select nonsense").code, Code::kInternal);
  EXPECT_EQ(count(*pool, "p"), 1) << "the pool is usable after each of them";
}

TEST(Pool, RunsABodyAgainAfterASerializationConflict) {
  ScopedDatabase database;
  auto pool = database.pool();
  ASSERT_TRUE(execute(*pool, "create table t (n int)").ok());
  ASSERT_TRUE(execute(*pool, "insert into t values (0)").ok());
  auto add_one = [&] {
    return pool->transaction(
        [&](Transaction& tx) -> Result<void> {
          int64_t n = TRY(tx.exec("select n from t")).front().integer("n");
          TRY(tx.exec("update t set n = $1", n + 1));
          return {};
        },
        Isolation::kSerializable);
  };

  std::vector<std::jthread> writers;
  std::atomic<int> done = 0;
  for (int i = 0; i < 3; ++i)
    writers.emplace_back([&] {
      for (int k = 0; k < 10; ++k) done += add_one().ok();
    });
  for (auto& writer : writers) writer.join();

  auto n = pool->transaction([&](Transaction& tx) -> Result<int64_t> {
    return TRY(tx.exec("select n from t")).front().integer("n");
  });
  EXPECT_EQ(*n, done.load()) << "every commit that was reported counts, and only those";
  EXPECT_GT(done, 0);
}

TEST(Pool, SaysBusyWhenAllConnectionsAreLent) {
  ScopedDatabase database;
  auto pool = database.pool({.connections_max = 1, .acquire_timeout = 50ms});

  auto outer = pool->transaction([&](Transaction&) -> Result<void> {
    auto inner = execute(*pool, "select 1");
    EXPECT_EQ(inner.error().reason, "STORE_BUSY");
    EXPECT_EQ(inner.error().code, Code::kUnavailable);
    return {};
  });

  EXPECT_TRUE(outer.ok());
  EXPECT_EQ(pool->stats().acquire_timeouts, 1u);
  EXPECT_TRUE(execute(*pool, "select 1").ok());
}

TEST(Pool, ReplacesConnectionsThatTheServerEndedAtRest) {
  ScopedDatabase database;
  auto pool = database.pool(), other = database.pool();
  ASSERT_TRUE(execute(*pool, "select 1").ok());
  ASSERT_TRUE(execute(
                  *other, "select pg_terminate_backend(pid) from pg_stat_activity "
                          "where datname = current_database() and pid <> pg_backend_pid()")
                  .ok());

  EXPECT_TRUE(execute(*pool, "select 1").ok());
  EXPECT_GE(pool->stats().connections_lost, 1u);
}

TEST(Pool, ReportsAConnectionLostInTheMiddle) {
  ScopedDatabase database;
  auto pool = database.pool();
  ASSERT_TRUE(execute(*pool, "create table t (n int)").ok());

  auto lost = pool->transaction([&](Transaction& tx) -> Result<void> {
    TRY(tx.exec("insert into t values (1)"));
    TRY(tx.exec("select pg_terminate_backend(pg_backend_pid())"));
    return {};
  });

  EXPECT_EQ(lost.error().code, Code::kUnavailable) << lost.error().message;
  EXPECT_EQ(count(*pool, "t"), 0);
}

TEST(Pool, SaysUnavailableWhenNothingListens) {
  auto pool = Pool::make({.database_url = "host=/nonexistent user=postgres dbname=x"});

  ASSERT_FALSE(pool.ok());
  EXPECT_EQ(pool.error().reason, "STORE_UNAVAILABLE");
}

} // namespace
