#include "controlplane/store/lists.h"

namespace controlplane::store {
namespace {

std::string_view sql_operator(model::FilterOperator op) {
  using model::FilterOperator;
  switch (op) {
  case FilterOperator::kEqual:
    return "=";
  case FilterOperator::kNotEqual:
    return "<>";
  case FilterOperator::kLess:
    return "<";
  case FilterOperator::kLessOrEqual:
    return "<=";
  case FilterOperator::kGreater:
    return ">";
  case FilterOperator::kGreaterOrEqual:
    return ">=";
  }
  __builtin_unreachable();
}

std::string_view sql_cast(model::FilterType type) {
  switch (type) {
  case model::FilterType::kText:
    return "::text";
  case model::FilterType::kNumber:
    return "::double precision";
  case model::FilterType::kTime:
    return "::timestamptz";
  case model::FilterType::kDuration:
    return "::double precision * interval '1 second'";
  }
  __builtin_unreachable();
}

} // namespace

std::string add_parameter(std::vector<Parameter>& parameters, Parameter value) {
  parameters.push_back(std::move(value));
  return "$" + std::to_string(parameters.size());
}

Result<std::string> filter_conditions(
    std::string_view filter, std::span<const FilterColumn> columns,
    std::vector<Parameter>& parameters) {
  std::vector<model::FilterField> fields;
  for (const FilterColumn& column : columns) fields.push_back(column.field);
  std::string sql;
  for (const auto& condition : TRY(model::parse_filter(filter, fields))) {
    for (const FilterColumn& column : columns) {
      if (column.field.name != condition.field) continue;
      sql.append(" and ").append(column.expression).append(" ");
      sql.append(sql_operator(condition.op)).append(" (");
      sql.append(add_parameter(parameters, condition.value));
      sql.append(sql_cast(column.field.type)).append(")");
    }
  }
  return sql;
}

Result<> check_etag(std::string_view current, std::string_view sent) {
  if (sent.empty() || sent == current) return {};
  return base::Error{
      base::Code::kAborted, "ETAG_MISMATCH",
      "it was changed by somebody else meanwhile: read it again and decide anew", "etag"};
}

base::Error request_id_reused() {
  return base::Error{
      base::Code::kAlreadyExists, "REQUEST_ID_REUSED",
      "this request id was used for another request: choose a new one", "requestId"};
}

} // namespace controlplane::store
