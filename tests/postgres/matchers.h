// What several tests of the store need: matchers for results, waiting with a deadline, and rows to
// work with.
#pragma once

#include "base/hex.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/pool.h"
#include "sonde/v1/session.pb.h"

#include <gmock/gmock.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

namespace postgres_fixture {

using namespace std::chrono_literals;

MATCHER(IsOk, "is a value") {
  if (!arg.ok()) *result_listener << arg.error().reason << ": " << arg.error().message;
  return arg.ok();
}

MATCHER_P(IsError, reason, "is the error " + std::string(reason)) {
  if (arg.ok()) {
    *result_listener << "is a value";
    return false;
  }
  *result_listener << arg.error().reason << ": " << arg.error().message;
  return arg.error().reason == reason;
}

inline bool
eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline = 30s) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return condition();
}

// One statement in a transaction of its own.
template <class... P>
controlplane::store::Result<controlplane::store::Rows>
run(controlplane::store::Pool& pool, const std::string& sql, const P&... parameters) {
  return pool.transaction(
      [&](controlplane::store::Transaction& tx) { return tx.exec(sql, parameters...); });
}

// An admitted agent; its id.
inline std::string
add_agent(controlplane::store::Pool& pool, const std::string& hostname = "host") {
  std::string id = base::new_uuid();
  auto added = pool.transaction([&](controlplane::store::Transaction& tx) {
    return controlplane::store::insert_agent(tx, id, hostname, {});
  });
  EXPECT_THAT(added, IsOk());
  return id;
}

// A session as validation leaves it.
inline sonde::v1::Session some_session(int max_hosts = 0) {
  sonde::v1::Session session;
  session.set_display_name("checkout is slow");
  session.mutable_selector()->set_hosts("*");
  session.mutable_selector()->set_max_hosts(max_hosts);
  session.add_probes()->mutable_http();
  session.mutable_export_()->set_store(true);
  session.mutable_ttl()->set_seconds(300);
  return session;
}

} // namespace postgres_fixture
