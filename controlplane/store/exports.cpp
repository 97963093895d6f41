#include "controlplane/store/exports.h"

#include "base/check.h"
#include "controlplane/store/connection.h"
#include "controlplane/store/limits.h"

#include <zstd.h>

namespace controlplane::store {
namespace {

std::string compress(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1);
  CHECK(!ZSTD_isError(size)); // only for want of room, and there is room
  out.resize(size);
  return out;
}

Result<std::string> decompress(std::string_view bytes) {
  const base::Error broken{
      base::Code::kDataLoss, "PAYLOAD_BROKEN", "export payload is damaged", {}};
  const auto size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size > kExportBatchBytesMax) return broken;
  std::string out(size, '\0');
  const size_t got = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(got) || got != size) return broken;
  return out;
}

// Rows of one destination in the cursor's window, behind its position: $1 … $5.
constexpr std::string_view kWindow = R"(
  b.destinations @> array[$1::text]
  and b.xid >= pg_snapshot_xmin($2::pg_snapshot) and b.xid < pg_snapshot_xmax($3::pg_snapshot)
  and not pg_visible_in_snapshot(b.xid, $2::pg_snapshot)
  and pg_visible_in_snapshot(b.xid, $3::pg_snapshot)
  and (b.xid, b.id) > ($4::text::xid8, $5::bigint))";

// Whether the destination d with the cursor c has batch b.
constexpr std::string_view kHas = R"(
  (pg_visible_in_snapshot(b.xid, c.delivered)
   or (c.delivering is not null and pg_visible_in_snapshot(b.xid, c.delivering) and (b.xid, b.id) <= (c.xid, c.id))))";

} // namespace

Result<void> insert_export_batch(Transaction& tx, const NewExportBatch& batch) {
  TRY(tx.exec(
      "insert into export_batches (session_id, destinations, spans, bytes, payload) "
      "values ($1::uuid, $2::text[], $3::int, $4::int, $5::bytea)",
      batch.session_id, batch.destinations, batch.spans, batch.traces.size(),
      Bytes{compress(batch.traces)}));
  return {};
}

Result<ExportCursor> find_export_cursor(Transaction& tx, std::string_view destination) {
  TRY(tx.exec(
      "insert into export_cursors (destination) values ($1) on conflict do nothing", destination));
  const Rows rows = TRY(tx.exec(
      "select delivered::text as delivered, delivering::text as delivering, xid::text as xid, id "
      "from export_cursors where destination = $1",
      destination));
  const Row row = rows.front();
  return ExportCursor{
      row.text("delivered"), row.is_null("delivering") ? "" : row.text("delivering"),
      std::stoull(row.text("xid")), row.integer("id")};
}

Result<ExportPage> find_export_page(
    Transaction& tx, std::string_view destination, const ExportCursor& cursor, int batches_max,
    int64_t bytes_max) {
  ExportPage page;
  page.next = cursor;
  if (page.next.delivering.empty())
    page.next.delivering =
        TRY(tx.exec("select pg_current_snapshot()::text as snapshot")).front().text("snapshot");
  // Sizes first: payloads are read for what is taken only.
  const Rows sizes = TRY(tx.exec(
      "select b.id, b.xid::text as xid, b.bytes from export_batches b where " +
          std::string(kWindow) + " order by b.xid, b.id limit $6::int",
      destination, page.next.delivered, page.next.delivering, std::to_string(page.next.xid),
      page.next.id, batches_max));
  std::vector<Parameter> ids;
  int64_t bytes = 0;
  for (const Row row : sizes) {
    bytes += row.integer("bytes");
    if (!ids.empty() && bytes > bytes_max) break;
    ids.emplace_back(row.integer("id"));
    page.next.xid = std::stoull(row.text("xid"));
    page.next.id = row.integer("id");
  }
  if (static_cast<int>(ids.size()) == sizes.size() && sizes.size() < batches_max) {
    page.next = ExportCursor{.delivered = page.next.delivering};
    page.end = true;
  }
  const Rows rows = TRY(tx.exec(
      "select id, spans, payload from export_batches where id = any($1::bigint[]) "
      "order by xid, id",
      ids));
  for (const Row row : rows)
    page.batches.push_back(
        {row.integer("id"), row.integer("spans"), TRY(decompress(row.bytes("payload")))});
  return page;
}

Result<void> write_export_cursor(
    Transaction& tx, std::string_view destination, const ExportCursor& cursor,
    const ExportProgress& progress) {
  TRY(tx.exec(
      R"(update export_cursors
         set delivered = $2::pg_snapshot, delivering = nullif($3, '')::pg_snapshot, xid = $4::text::xid8, id = $5::bigint,
             sent_spans = sent_spans + $6::bigint, rejected_spans = rejected_spans + $7::bigint,
             update_time = now()
         where destination = $1)",
      destination, cursor.delivered, cursor.delivering, std::to_string(cursor.xid), cursor.id,
      progress.sent_spans, progress.rejected_spans));
  return {};
}

namespace {

// Oldest first and some at a time: what one destination does not fetch keeps only itself.
constexpr int kDeleteMax = 5000;

Result<void> delete_delivered(Transaction& tx) {
  TRY(tx.exec(
      "delete from export_batches b where b.id in "
      "(select id from export_batches order by xid, id limit $1::int) and not exists ("
      "  select from unnest(b.destinations) as d left join export_cursors c on c.destination = d"
      "  where c.destination is null or not " +
          std::string(kHas) + ")",
      kDeleteMax));
  return {};
}

Result<uint64_t> drop_oldest(Transaction& tx, int64_t bytes_max) {
  const Rows waiting =
      TRY(tx.exec("select coalesce(sum(bytes), 0)::bigint as n from export_batches"));
  if (waiting.front().integer("n") <= bytes_max) return uint64_t{0};
  const Rows rows = TRY(tx.exec(
      R"(with doomed as (
           select id from (select id, sum(bytes) over (order by xid desc, id desc) as newer
                           from export_batches) sized
           where newer > $1::bigint),
         gone as (
           delete from export_batches b using doomed where b.id = doomed.id
           returning b.id, b.xid, b.spans, b.destinations),
         missed as (
           select c.destination, sum(b.spans) as spans from gone b
           join export_cursors c on c.destination = any(b.destinations)
           where not )" +
          std::string(kHas) + R"( group by c.destination),
         counted as (
           update export_cursors c set dropped_spans = c.dropped_spans + missed.spans, update_time = now()
           from missed where missed.destination = c.destination returning missed.spans)
         select coalesce(sum(spans), 0)::bigint as spans from counted)",
      bytes_max));
  return static_cast<uint64_t>(rows.front().integer("spans"));
}

} // namespace

Result<DroppedSpans> clean_exports(Transaction& tx, int64_t bytes_max) {
  DroppedSpans dropped;
  const Rows mine = TRY(tx.exec(
      "select pg_try_advisory_xact_lock(hashtextextended('sonde export cleaning', 0)) as mine"));
  if (mine.front().boolean("mine")) {
    TRY(delete_delivered(tx));
    dropped.now = TRY(drop_oldest(tx, bytes_max));
  }
  const Rows ever =
      TRY(tx.exec("select coalesce(sum(dropped_spans), 0)::bigint as n from export_cursors"));
  dropped.ever = static_cast<uint64_t>(ever.front().integer("n"));
  return dropped;
}

Result<std::vector<ExportTotals>> find_export_totals(Transaction& tx) {
  const Rows rows = TRY(tx.exec(
      "select c.destination, c.sent_spans, c.rejected_spans, c.dropped_spans, "
      "(select count(*) from export_batches b where c.destination = any(b.destinations) and not " +
      std::string(kHas) + ") as waiting from export_cursors c order by 1"));
  std::vector<ExportTotals> totals;
  for (const Row row : rows)
    totals.push_back(
        {row.text("destination"), static_cast<uint64_t>(row.integer("sent_spans")),
         static_cast<uint64_t>(row.integer("rejected_spans")),
         static_cast<uint64_t>(row.integer("dropped_spans")),
         static_cast<uint64_t>(row.integer("waiting"))});
  return totals;
}

ExportLock::ExportLock(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
ExportLock::~ExportLock() = default;

Result<std::unique_ptr<ExportLock>>
ExportLock::try_acquire(const PoolOptions& options, std::string_view destination) {
  auto connection = TRY(connect(
      {options.database_url, options.application_name + " export", options.statement_timeout}));
  try {
    pqxx::nontransaction work(connection->pq);
    const pqxx::result rows = work.exec_params(
        "select pg_try_advisory_lock(hashtextextended('sonde export ' || $1, 0))",
        std::string(destination));
    if (!rows[0][0].as<bool>()) return std::unique_ptr<ExportLock>();
  } catch (...) {
    return failure_of_exception().error;
  }
  return std::unique_ptr<ExportLock>(new ExportLock(std::move(connection)));
}

bool ExportLock::held() {
  try {
    pqxx::nontransaction work(connection_->pq);
    work.exec("select 1");
    return true;
  } catch (...) {
    return false;
  }
}

} // namespace controlplane::store
