#include "controlplane/store/transaction.h"

#include "base/check.h"
#include "base/hex.h"
#include "controlplane/store/connection.h"
#include "controlplane/store/limits.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <pqxx/tablewriter>

#include <charconv>

namespace controlplane::store {
namespace {

using google::protobuf::util::TimeUtil;

std::string array_element(const Parameter& element) {
  if (!element.text()) return "NULL";
  std::string quoted = "\"";
  for (char c : *element.text()) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// https://www.postgresql.org/docs/15/sql-copy.html, text format
void append_copy_field(std::string& line, const Parameter& value) {
  if (!value.text()) {
    line += "\\N";
    return;
  }
  for (char c : *value.text()) {
    switch (c) {
    case '\\':
      line += "\\\\";
      break;
    case '\n':
      line += "\\n";
      break;
    case '\r':
      line += "\\r";
      break;
    case '\t':
      line += "\\t";
      break;
    default:
      line += c;
    }
  }
}

// libpqxx 6.4 deprecates tablewriter for stream_to, which takes tuples only: rows of a length known
// at run time do not compile.
struct CopyStream {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  CopyStream(
      pqxx::transaction_base& transaction, const std::string& table,
      const std::vector<std::string>& columns)
      : writer(transaction, table, columns.begin(), columns.end()) {}
#pragma GCC diagnostic pop
  pqxx::tablewriter writer;
};

template <class Number> Number parse_number(std::string_view text) {
  Number number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK(error == std::errc() && end == text.data() + text.size());
  return number;
}

} // namespace

Parameter::Parameter(double value) : text_(fmt::format("{}", value)) {}

Parameter::Parameter(Bytes bytes) : text_("\\x" + base::to_hex(bytes.value)) {}

Parameter::Parameter(const google::protobuf::Timestamp& time) : text_(TimeUtil::ToString(time)) {}

Parameter::Parameter(const std::vector<Parameter>& elements) {
  std::string array = "{";
  for (const Parameter& element : elements) {
    if (array.size() > 1) array += ',';
    array += array_element(element);
  }
  text_ = array + "}";
}

const char* Row::raw(const char* column) const {
  pqxx::field field =
      (*result_)[index_][column]; // throws for a column that is not there: our mistake
  return field.is_null() ? nullptr : field.c_str();
}

bool Row::is_null(const char* column) const { return raw(column) == nullptr; }

std::string Row::text(const char* column) const {
  const char* value = raw(column);
  return value ? value : "";
}

std::string Row::bytes(const char* column) const {
  std::string value = text(column);
  if (value.empty()) return {};
  CHECK(value.starts_with("\\x"));
  auto decoded = base::from_hex(std::string_view(value).substr(2));
  CHECK(decoded.ok());
  return *std::move(decoded);
}

int64_t Row::integer(const char* column) const {
  const char* value = raw(column);
  return value ? parse_number<int64_t>(value) : 0;
}

double Row::real(const char* column) const {
  const char* value = raw(column);
  return value ? parse_number<double>(value) : 0;
}

bool Row::boolean(const char* column) const {
  const char* value = raw(column);
  return value && value[0] == 't';
}

google::protobuf::Timestamp Row::timestamp(const char* column) const {
  google::protobuf::Timestamp time;
  std::string value = text(column);
  if (value.empty()) return time;
  // "2026-11-21 05:52:00.123456+00", since every connection is set to UTC and ISO
  CHECK(value.size() >= 22 && value.ends_with("+00"));
  value[10] = 'T';
  value.replace(value.size() - 3, 3, "Z");
  CHECK(TimeUtil::FromString(value, &time));
  return time;
}

std::vector<std::string> Row::texts(const char* column) const {
  std::vector<std::string> values;
  const char* value = raw(column);
  if (!value) return values;
  pqxx::array_parser parser(value);
  for (auto item = parser.get_next(); item.first != pqxx::array_parser::done;
       item = parser.get_next())
    if (item.first == pqxx::array_parser::string_value) values.push_back(item.second);
  return values;
}

int Rows::size() const { return static_cast<int>(result_->size()); }

int64_t Rows::affected() const { return static_cast<int64_t>(result_->affected_rows()); }

Transaction::Transaction(
    Connection& connection, std::unique_ptr<pqxx::transaction_base> transaction)
    : connection_(connection), transaction_(std::move(transaction)) {}

Transaction::~Transaction() = default;

base::Error Transaction::fail() {
  Failure failure = failure_of_exception();
  switch (failure.kind) {
  case FailureKind::kConflict:
    trouble_ = Trouble::kConflict;
    break;
  case FailureKind::kLost:
    trouble_ = Trouble::kLost;
    break;
  case FailureKind::kOther:
    trouble_ = Trouble::kOther;
    break;
  }
  return std::move(failure.error);
}

Result<Rows> Transaction::run(std::string_view sql, const std::vector<Parameter>& parameters) {
  CHECK(trouble_ == Trouble::kNone); // the error of the statement before was not returned
  try {
    std::vector<const char*> values;
    values.reserve(parameters.size());
    for (const Parameter& parameter : parameters)
      values.push_back(parameter.text() ? parameter.text()->c_str() : nullptr);
    auto dynamic = pqxx::prepare::make_dynamic_params(values);
    std::string text(sql);
    auto known = connection_.prepared.find(text);
    if (known == connection_.prepared.end() &&
        connection_.prepared.size() < kPreparedStatementsMax) {
      std::string name = fmt::format("s{}", connection_.prepared.size());
      connection_.pq.prepare(name, text);
      known = connection_.prepared.emplace(text, name).first;
    }
    auto result = known != connection_.prepared.end()
                      ? transaction_->exec_prepared(known->second, dynamic)
                      : transaction_->exec_params(text, dynamic);
    ++statements_done_;
    return Rows(std::make_shared<const pqxx::result>(std::move(result)));
  } catch (...) {
    return fail();
  }
}

Result<void> Transaction::copy(
    std::string_view table, const std::vector<std::string>& columns,
    const std::vector<std::vector<Parameter>>& rows) {
  CHECK(trouble_ == Trouble::kNone);
  try {
    CopyStream stream(*transaction_, std::string(table), columns);
    std::string line;
    for (const auto& row : rows) {
      CHECK(row.size() == columns.size());
      line.clear();
      for (const Parameter& value : row) {
        if (&value != row.data()) line += '\t';
        append_copy_field(line, value);
      }
      stream.writer.write_raw_line(line);
    }
    stream.writer.complete();
    ++statements_done_;
    return {};
  } catch (...) {
    return fail();
  }
}

Result<void> Transaction::commit() {
  CHECK(trouble_ == Trouble::kNone); // a body that lost a statement returned a value
  try {
    transaction_->commit();
    return {};
  } catch (...) {
    return fail();
  }
}

} // namespace controlplane::store
