#include "controlplane/store/lists.h"

#include "controlplane/model/page_token.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/uuid.h"

#include <algorithm>

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

// As PostgreSQL writes a timestamptz: enough that the cast finds nothing else in it.
bool is_timestamp(std::string_view text) {
  return text.size() >= 10 && text.size() <= 40 &&
         text.find_first_not_of("0123456789-+:. ") == std::string_view::npos;
}

} // namespace

bool is_glob(std::string_view value) { return value.find('*') != value.npos; }

std::string like_pattern(std::string_view glob) {
  std::string pattern;
  for (const char c : glob) {
    if (c == '%' || c == '_' || c == '\\') pattern += '\\';
    pattern += c == '*' ? '%' : c;
  }
  return pattern;
}

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
      const bool like = column.field.type == model::FilterType::kText && is_glob(condition.value);
      sql.append(" and ").append(column.expression).append(" ");
      if (like)
        sql.append(condition.op == model::FilterOperator::kEqual ? "like" : "not like");
      else
        sql.append(sql_operator(condition.op));
      sql.append(" (");
      sql.append(add_parameter(parameters, like ? like_pattern(condition.value) : condition.value));
      sql.append(sql_cast(column.field.type)).append(")");
    }
  }
  return sql;
}

Result<Page> newest_first(
    Transaction& tx, std::string select, std::vector<Parameter> parameters,
    const PageRequest& request) {
  const int size = TRY(model::page_size(request.size));
  const auto key = TRY(model::decode_page_token(request.token, request.query, 2));
  if (!key.empty()) {
    if (!is_timestamp(key[0]) || !is_uuid(key[1])) return model::invalid_page_token();
    select += " and (create_time, id) < (" + add_parameter(parameters, key[0]) + "::timestamptz, " +
              add_parameter(parameters, key[1]) + "::uuid)";
  }
  select += " order by create_time desc, id desc limit " + add_parameter(parameters, size + 1);
  const Rows rows = TRY(tx.run(select, parameters));
  Page page;
  for (int i = 0; i < std::min(rows.size(), size); ++i) page.rows.push_back(rows[i]);
  if (rows.size() > size)
    page.next_page_token = model::encode_page_token(
        {page.rows.back().text("create_time"), page.rows.back().text("id")}, request.query);
  return page;
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
