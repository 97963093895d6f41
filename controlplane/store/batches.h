// Batches of results: which ones are durable, what they add to a session, and the days that are
// kept. All functions run in the caller's transaction.
#pragma once

#include "controlplane/store/transaction.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace controlplane::store {

// Where the results of a session go.
struct ResultRoute {
  // The agent is assigned, and the session is not over, or for no longer than kLateResultsMax; a
  // cancelled one takes nothing more.
  bool accepted = false;
  bool keep = true; // spans stay in the store
  std::vector<std::string> destinations;
  std::string hostname; // of the agent, as it is enrolled
};
Result<ResultRoute>
find_result_route(Transaction& tx, std::string_view session_id, std::string_view agent_id);

struct NewBatch {
  std::string agent_id;
  std::string boot_id;
  uint64_t batch = 0;
  std::string session_id;
  int64_t spans = 0;
};
// For each, whether it is new; the others are durable already. Waits for a replica that stores the
// same batch at this moment. Of equal ones in `batches` the first can be new.
Result<std::vector<bool>> insert_batches(Transaction& tx, std::span<const NewBatch> batches);

struct SessionCount {
  std::string session_id;
  std::string agent_id;
  std::string reason; // of a loss; empty for spans
  uint64_t count = 0;
};
Result<void> add_session_counts(Transaction& tx, std::vector<SessionCount> counts);

// Of one session: spans that were accepted, and what was lost by reason (agents together).
struct SessionTotals {
  uint64_t spans = 0;
  std::map<std::string, uint64_t> losses;
};
Result<std::map<std::string, SessionTotals>>
find_session_totals(Transaction& tx, const std::vector<std::string>& session_ids);

// Everything that was kept of the session.
Result<void> delete_session_results(Transaction& tx, std::string_view session_id);

// Of a session's results, whole days; of the session itself and of the audit log, by the clock.
struct Retention {
  int days_ahead = 3;
  int span_days = 7;
  int session_days = 30; // after its end; never before its spans
  int audit_days = 400;
  std::chrono::hours batch_hours{48}; // longer than any agent keeps a batch
};
struct Maintained {
  std::vector<std::string> days; // tables that were dropped
  uint64_t sessions = 0;         // rows that were deleted
  uint64_t audit_events = 0;
  bool more = false; // kDeletedRowsMax was reached: call again
};
// Creates the partitions of the days to come, and removes what is past its time. Call at the start
// and every hour; replicas may do it at the same time.
Result<Maintained> maintain_results(Transaction& tx, const Retention& retention);

} // namespace controlplane::store
