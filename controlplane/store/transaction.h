// One transaction on one connection: statements with parameters in, rows out, failures as values.
//
//   auto rows = TRY(tx.exec("select id, state from sessions where created_by = $1", caller));
//   for (Row row : rows) use(row.text("id"));
#pragma once

#include "base/result.h"

#include <google/protobuf/timestamp.pb.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pqxx {
class result;
class transaction_base;
} // namespace pqxx

namespace controlplane::store {

using base::Result;

// Marks a string as bytea.
struct Bytes {
  std::string_view value;
};

// A statement's parameter, in PostgreSQL's text form. Vectors become arrays, for unnest().
class Parameter {
 public:
  Parameter(std::nullptr_t) {}
  Parameter(std::nullopt_t) {}
  Parameter(std::string_view text) : text_(text) {}
  Parameter(const std::string& text) : text_(text) {}
  Parameter(const char* text) : text_(text) {}
  Parameter(bool value) : text_(value ? "t" : "f") {}
  Parameter(double value);
  template <std::integral Integer>
    requires(!std::same_as<Integer, bool> && !std::same_as<Integer, char>)
  Parameter(Integer value) : text_(std::to_string(value)) {}
  Parameter(Bytes bytes);
  Parameter(const google::protobuf::Timestamp& time);
  Parameter(const std::vector<Parameter>& elements);
  template <class T>
    requires(!std::same_as<T, Parameter>)
  Parameter(const std::vector<T>& elements)
      : Parameter(std::vector<Parameter>(elements.begin(), elements.end())) {}
  template <class T> Parameter(const std::optional<T>& value) {
    if (value) *this = Parameter(*value);
  }

  // Empty for NULL.
  const std::optional<std::string>& text() const { return text_; }

 private:
  std::optional<std::string> text_;
};

// A row of a result; valid as long as any copy of its Rows. A column that does not exist, or that
// does not hold the type asked for, is our mistake and aborts; NULL reads as the type's zero.
class Row {
 public:
  bool is_null(const char* column) const;
  std::string text(const char* column) const;
  std::string bytes(const char* column) const;
  int64_t integer(const char* column) const;
  double real(const char* column) const;
  bool boolean(const char* column) const;
  google::protobuf::Timestamp timestamp(const char* column) const;
  // A text[] column.
  std::vector<std::string> texts(const char* column) const;

 private:
  friend class Rows;
  Row(std::shared_ptr<const pqxx::result> result, int index)
      : result_(std::move(result)), index_(index) {}
  const char* raw(const char* column) const;

  std::shared_ptr<const pqxx::result> result_;
  int index_;
};

// What a statement answered. Cheap to copy.
class Rows {
 public:
  explicit Rows(std::shared_ptr<const pqxx::result> result) : result_(std::move(result)) {}

  int size() const;
  bool empty() const { return size() == 0; }
  // Rows that an INSERT, UPDATE or DELETE touched.
  int64_t affected() const;
  Row operator[](int index) const { return Row(result_, index); }
  Row front() const { return (*this)[0]; }

  class Iterator {
   public:
    Iterator(const Rows* rows, int index) : rows_(rows), index_(index) {}
    Row operator*() const { return (*rows_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    const Rows* rows_;
    int index_;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

 private:
  std::shared_ptr<const pqxx::result> result_;
};

struct Connection;

// Belongs to the thread that runs the body given to Pool::transaction(). After a failed statement
// the transaction is lost: return the error.
class Transaction {
 public:
  Transaction(Connection& connection, std::unique_ptr<pqxx::transaction_base> transaction);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Parameters are $1, $2, … and never part of the text. Errors, by code and reason:
  //   kAlreadyExists ALREADY_EXISTS            unique constraint
  //   kFailedPrecondition REFERENCE_MISSING    foreign key
  //   kInvalidArgument VALUE_REFUSED           check, not null, a value outside its type
  //   kDeadlineExceeded STORE_TIMEOUT          statement timeout
  //   kAborted STORE_CONFLICT                  serialization, deadlock; the whole body is run again
  //   kUnavailable STORE_UNAVAILABLE           connection lost, server shutting down
  //   kResourceExhausted STORE_FULL            disk or memory of the server
  template <class... P> Result<Rows> exec(std::string_view sql, const P&... parameters) {
    return run(sql, std::vector<Parameter>{Parameter(parameters)...});
  }
  Result<Rows> run(std::string_view sql, const std::vector<Parameter>& parameters);

  // COPY rows into `table`; each row has one value per column.
  Result<void> copy(
      std::string_view table, const std::vector<std::string>& columns,
      const std::vector<std::vector<Parameter>>& rows);

  // Wakes the readers of the change feed once this transaction is committed (record_change calls
  // it).
  void wake_change_feed() { wakes_change_feed_ = true; }

 private:
  friend class Pool;
  enum class Trouble { kNone, kConflict, kLost, kOther };
  base::Error fail(); // of the exception being handled
  Result<void> commit();

  Connection& connection_;
  std::unique_ptr<pqxx::transaction_base> transaction_;
  Trouble trouble_ = Trouble::kNone;
  int statements_done_ = 0;
  bool wakes_change_feed_ = false;
};

} // namespace controlplane::store
