// What the store allows itself, by name.
#pragma once

#include <chrono>
#include <cstddef>

namespace controlplane::store {

// PostgreSQL allows 100 connections out of the box: room for several replicas and an operator's
// psql.
inline constexpr size_t kPoolConnectionsMax = 10;
// A caller that waits longer for a free connection is told STORE_BUSY: a queue would only hide the
// overload.
inline constexpr std::chrono::milliseconds kPoolAcquireTimeout{5000};
inline constexpr std::chrono::milliseconds kStatementTimeout{10000};
// Our own transactions never wait for anything but PostgreSQL; one that does was forgotten.
inline constexpr std::chrono::milliseconds kIdleTransactionTimeout{30000};
inline constexpr std::chrono::seconds kConnectTimeout{5};
// A server that vanished from the network is noticed after so long in the middle of a statement.
inline constexpr std::chrono::seconds kTcpTimeout{10};
// A connection that rested longer is asked before it is used.
inline constexpr std::chrono::seconds kHealthCheckAfter{10};
inline constexpr int kTransactionAttemptsMax = 5;
inline constexpr std::chrono::milliseconds kRetryPauseMax{20};
// Statements kept prepared on a connection; what comes after is parsed each time.
inline constexpr size_t kPreparedStatementsMax = 256;
// An agent that was cut off sends what it kept when it is back: so long after its end a session
// takes it, except when it was cancelled.
inline constexpr std::chrono::seconds kLateResultsMax{600};

// The change feed. Changes are kept far longer than any replica needs to read them; one that comes
// later reads everything anew.
inline constexpr std::chrono::seconds kChangesKept{3600};
inline constexpr std::chrono::seconds kChangePruneInterval{300};
inline constexpr std::chrono::milliseconds kFeedStatementTimeout{5000};
inline constexpr std::chrono::milliseconds kFeedReconnectPause{250};

// Rows that one transaction deletes because they are past their time.
inline constexpr int kDeletedRowsMax = 5000;

// One row of export_batches, uncompressed: what ingest groups into one transaction.
inline constexpr size_t kExportBatchBytesMax = 64 << 20;

} // namespace controlplane::store
