// Of the store's bodies only: label maps as jsonb columns.
#pragma once

#include "controlplane/store/transaction.h"

#include <google/protobuf/map.h>

#include <string>
#include <vector>

namespace controlplane::store {

using Labels = google::protobuf::Map<std::string, std::string>;

// The two parameters of jsonb_object($keys::text[], $values::text[]).
struct LabelParameters {
  explicit LabelParameters(const Labels& labels) {
    for (const auto& [key, value] : labels) {
      keys.push_back(key);
      values.push_back(value);
    }
  }
  std::vector<std::string> keys;
  std::vector<std::string> values;
};

// Two text[] columns of one order, as `keys_of` and `values_of` below make them.
inline void
read_labels(const Row& row, const char* keys_column, const char* values_column, Labels& labels) {
  std::vector<std::string> keys = row.texts(keys_column);
  std::vector<std::string> values = row.texts(values_column);
  for (size_t i = 0; i < keys.size() && i < values.size(); ++i) labels[keys[i]] = values[i];
}

} // namespace controlplane::store
