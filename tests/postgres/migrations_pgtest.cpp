#include "controlplane/store/migrations.h"

#include "controlplane/store/pool.h"
#include "tests/postgres/postgres_fixture.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace {

using controlplane::store::embedded_migrations;
using controlplane::store::migrate;
using controlplane::store::Migration;
using controlplane::store::Result;
using controlplane::store::Transaction;
using postgres_fixture::ScopedDatabase;

const Migration kOne{1, "0001_one", "create table one (id int); create table two (id int);"};
const Migration kTwo{2, "0002_two", "alter table one add column name text;"};
const Migration kThree{3, "0003_three", "create table three (id int);"};

bool has_table(const ScopedDatabase& database, const std::string& name) {
  auto pool = database.pool();
  auto found = pool->transaction([&](Transaction& tx) -> Result<bool> {
    return !TRY(tx.exec("select to_regclass($1)::text as t", name)).front().is_null("t");
  });
  return found.ok() && *found;
}

TEST(Migrations, BringAnEmptyDatabaseUpToThisBinaryOnce) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);

  auto first = migrate(database.url());
  auto second = migrate(database.url());

  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(*first, static_cast<int>(embedded_migrations().size()));
  EXPECT_EQ(*second, 0);
  EXPECT_TRUE(has_table(database, "sessions"));
}

TEST(Migrations, ApplyOnlyWhatIsNew) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  ASSERT_EQ(*migrate(database.url(), std::vector{kOne}), 1);

  EXPECT_EQ(*migrate(database.url(), std::vector{kOne, kTwo, kThree}), 2);
}

TEST(Migrations, RefuseASchemaNewerThanTheBinary) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  ASSERT_TRUE(migrate(database.url(), std::vector{kOne, kTwo}).ok());

  auto refused = migrate(database.url(), std::vector{kOne});

  EXPECT_EQ(refused.error().reason, "SCHEMA_NEWER");
}

TEST(Migrations, RefuseAnAppliedFileThatChanged) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  ASSERT_TRUE(migrate(database.url(), std::vector{kOne}).ok());
  Migration edited{1, "0001_one", "create table one (id bigint);"};

  auto refused = migrate(database.url(), std::vector{edited, kTwo});

  EXPECT_EQ(refused.error().reason, "MIGRATION_CHANGED");
}

TEST(Migrations, RefuseAFileThatCameLateInTheMiddle) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  ASSERT_TRUE(migrate(database.url(), std::vector{kOne, kThree}).ok());

  auto refused = migrate(database.url(), std::vector{kOne, kTwo, kThree});

  EXPECT_EQ(refused.error().reason, "MIGRATION_GAP");
}

TEST(Migrations, RollBackAFileThatFailsHalfway) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  Migration broken{2, "0002_broken", "create table half (id int); create table one (id int);"};

  auto failed = migrate(database.url(), std::vector{kOne, broken});

  EXPECT_EQ(failed.error().reason, "MIGRATION_FAILED");
  EXPECT_TRUE(has_table(database, "one"));
  EXPECT_FALSE(has_table(database, "half"));
  EXPECT_EQ(*migrate(database.url(), std::vector{kOne, kTwo}), 1);
}

TEST(Migrations, TakeTurnsWhenReplicasStartTogether) {
  ScopedDatabase database(ScopedDatabase::Content::kEmpty);
  std::atomic<int> applied = 0, failed = 0;

  std::vector<std::jthread> replicas;
  for (int i = 0; i < 4; ++i)
    replicas.emplace_back([&] {
      auto result = migrate(database.url());
      if (result.ok())
        applied += *result;
      else
        ++failed;
    });
  for (auto& replica : replicas) replica.join();

  EXPECT_EQ(failed, 0);
  EXPECT_EQ(applied, static_cast<int>(embedded_migrations().size()));
}

} // namespace
