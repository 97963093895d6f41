#include "controlplane/store/connection.h"

#include "controlplane/store/limits.h"

#include <fmt/format.h>

namespace controlplane::store {
namespace {

using base::Code;
using base::Error;

// What an operator wrote into the address stays as it is.
std::string with_timeouts(const std::string& database_url) {
  const bool is_url =
      database_url.starts_with("postgres://") || database_url.starts_with("postgresql://");
  std::string url = database_url;
  auto add = [&](std::string_view name, int64_t value) {
    if (url.find(std::string(name) + "=") != std::string::npos) return;
    char separator = !is_url ? ' ' : url.find('?') == std::string::npos ? '?' : '&';
    url += fmt::format("{}{}={}", separator, name, value);
  };
  add("connect_timeout", kConnectTimeout.count());
  add("tcp_user_timeout", std::chrono::milliseconds(kTcpTimeout).count());
  return url;
}

// A lost connection must be seen: libpqxx 6 would open a new one and lose what the session had set.
// Deprecated because libpqxx 7 no longer does.
void stay_closed_when_lost(pqxx::connection& connection) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  connection.inhibit_reactivation(true);
#pragma GCC diagnostic pop
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Failure lost(const std::exception& exception) {
  return {
      FailureKind::kLost,
      base::unavailable("STORE_UNAVAILABLE", "PostgreSQL: " + trimmed(exception.what()))};
}

Failure other(Code code, std::string_view reason, const std::exception& exception) {
  return {FailureKind::kOther, Error{code, reason, "PostgreSQL: " + trimmed(exception.what()), {}}};
}

// https://www.postgresql.org/docs/15/errcodes-appendix.html
Failure of_sqlstate(const pqxx::sql_error& error) {
  const std::string& state = error.sqlstate();
  auto is_class = [&](const char* prefix) { return state.rfind(prefix, 0) == 0; };
  if (state == "23505") return other(Code::kAlreadyExists, "ALREADY_EXISTS", error);
  if (state == "23503") return other(Code::kFailedPrecondition, "REFERENCE_MISSING", error);
  if (is_class("23") || is_class("22"))
    return other(Code::kInvalidArgument, "VALUE_REFUSED", error);
  if (state == "57014") return other(Code::kDeadlineExceeded, "STORE_TIMEOUT", error);
  if (is_class("57P") || is_class("08") || state == "25P03") return lost(error);
  if (is_class("53")) return other(Code::kResourceExhausted, "STORE_FULL", error);
  if (state == "25006") // a server in recovery takes no writes
    return other(Code::kUnavailable, "STORE_READ_ONLY", error);
  return other(Code::kInternal, "INTERNAL", error);
}

} // namespace

Failure failure_of_exception() {
  try {
    throw;
  } catch (const pqxx::in_doubt_error& error) {
    Failure failure = lost(error);
    failure.error.reason = "STORE_COMMIT_UNKNOWN";
    return failure;
  } catch (const pqxx::broken_connection& error) {
    return lost(error);
  } catch (const pqxx::transaction_rollback& error) {
    return {
        FailureKind::kConflict,
        Error{Code::kAborted, "STORE_CONFLICT", "PostgreSQL: " + trimmed(error.what()), {}}};
  } catch (const pqxx::sql_error& error) {
    return of_sqlstate(error);
  } catch (const std::exception& error) {
    return other(Code::kInternal, "INTERNAL", error);
  }
}

base::Result<std::unique_ptr<Connection>> connect(const ConnectionOptions& options) {
  try {
    auto connection = std::make_unique<Connection>(with_timeouts(options.database_url));
    stay_closed_when_lost(connection->pq);
    pqxx::nontransaction setup(connection->pq);
    setup.exec(fmt::format(
        "set application_name = {}; set timezone = 'UTC'; set datestyle = 'ISO'; "
        "set statement_timeout = {}; set idle_in_transaction_session_timeout = {}; "
        "set client_min_messages = 'warning'",
        setup.quote(options.application_name), options.statement_timeout.count(),
        kIdleTransactionTimeout.count()));
    return connection;
  } catch (...) {
    return failure_of_exception().error;
  }
}

} // namespace controlplane::store
