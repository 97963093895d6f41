// Of the store's bodies only: filters and pages as SQL.
#pragma once

#include "controlplane/model/filter.h"
#include "controlplane/store/transaction.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace controlplane::store {

// A field of a list's filter, and the SQL expression that it is.
struct FilterColumn {
  model::FilterField field;
  std::string_view expression;
};

// " and created_by = $3 and …" with its parameters appended to `parameters`: values are never part
// of the text. INVALID_FILTER.
Result<std::string> filter_conditions(
    std::string_view filter, std::span<const FilterColumn> columns,
    std::vector<Parameter>& parameters);

// In a filter's text * stands for anything: whether there is one, and the pattern for LIKE.
bool is_glob(std::string_view value);
std::string like_pattern(std::string_view glob);

// Adds a parameter and answers its name, "$7".
std::string add_parameter(std::vector<Parameter>& parameters, Parameter value);

// One page of a list by (create_time, id), newest first.
struct Page {
  std::vector<Row> rows;
  std::string next_page_token; // empty: this is the last
};
struct PageRequest {
  int size;
  std::string_view token;
  std::string_view query = {}; // what the list depends on: see model::encode_page_token
};
// `select` answers create_time and id, and ends in conditions: "… where true and …".
// INVALID_PAGE_TOKEN, PAGE_SIZE_NEGATIVE.
Result<Page> newest_first(
    Transaction& tx, std::string select, std::vector<Parameter> parameters,
    const PageRequest& request);

// ETAG_MISMATCH (ABORTED) when `sent` is neither empty nor the etag that the resource has.
Result<> check_etag(std::string_view current, std::string_view sent);

base::Error request_id_reused();

} // namespace controlplane::store
