// What waits for OTLP destinations, and how far each of them got.
#pragma once

#include "controlplane/store/pool.h"
#include "controlplane/store/transaction.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

struct NewExportBatch {
  std::string session_id;
  std::vector<std::string> destinations;
  int64_t spans = 0;
  std::string traces; // serialized OTLP TracesData
};
// Compresses it: most of a span is the same as in the one before.
Result<void> insert_export_batch(Transaction& tx, const NewExportBatch& batch);

// Where a destination stands. Texts of pg_snapshot; see export_cursors.
struct ExportCursor {
  std::string delivered;
  std::string delivering; // empty: between two windows
  uint64_t xid = 0;
  int64_t id = 0;
};
// Begins before everything for a destination that is new.
Result<ExportCursor> find_export_cursor(Transaction& tx, std::string_view destination);

struct ExportBatch {
  int64_t id = 0;
  int64_t spans = 0;
  std::string traces; // serialized OTLP TracesData
};
struct ExportPage {
  std::vector<ExportBatch> batches;
  ExportCursor next; // store it once the batches are delivered
  bool end = false;  // nothing more now
};
// The next batches for the destination, at most `batches_max` of together `bytes_max` uncompressed
// (one at least). Rows that were committed late come late, but come: the cursor is a snapshot, not
// a number.
Result<ExportPage> find_export_page(
    Transaction& tx, std::string_view destination, const ExportCursor& cursor, int batches_max,
    int64_t bytes_max);

struct ExportProgress {
  uint64_t sent_spans = 0;
  uint64_t rejected_spans = 0;
};
Result<void> write_export_cursor(
    Transaction& tx, std::string_view destination, const ExportCursor& cursor,
    const ExportProgress& progress);

struct DroppedSpans {
  uint64_t now = 0;
  uint64_t ever = 0; // of all destinations
};
// Deletes what all its destinations have; when more than `bytes_max` (uncompressed) still waits,
// deletes the oldest until it does not, and counts its spans as dropped for the destinations that
// have not got them. Does nothing while another replica does it.
Result<DroppedSpans> clean_exports(Transaction& tx, int64_t bytes_max);

// Of all destinations that ever were.
struct ExportTotals {
  std::string destination;
  uint64_t sent_spans = 0;
  uint64_t rejected_spans = 0;
  uint64_t dropped_spans = 0;
  uint64_t waiting_batches = 0;
};
Result<std::vector<ExportTotals>> find_export_totals(Transaction& tx);

// The right to export to one destination, on a connection of its own: an advisory lock that
// PostgreSQL takes back when this process or the connection is gone. One thread.
class ExportLock {
 public:
  // None when another replica has it. STORE_UNAVAILABLE.
  static Result<std::unique_ptr<ExportLock>>
  try_acquire(const PoolOptions& options, std::string_view destination);
  ~ExportLock();
  // A round trip: whether the lock is still ours.
  bool held();

 private:
  explicit ExportLock(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

} // namespace controlplane::store
