#include "agent/process/fact_names.h"

#include "agent/process/limits.h"

#include <algorithm>

namespace agent::process {
namespace {

// Symbols write the dots of a path's last element as %2e, so that the first dot after it ends the
// package.
std::string unescaped(std::string_view path) {
  std::string plain;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path.substr(i, 3) == "%2e") {
      plain.push_back('.');
      i += 2;
    } else {
      plain.push_back(path[i]);
    }
  }
  return plain;
}

// Splits "net/http.Request.URL" into "net/http" and "Request.URL".
std::optional<std::pair<std::string_view, std::string_view>> split_package(std::string_view text) {
  size_t slash = text.rfind('/');
  size_t dot = text.find('.', slash == std::string_view::npos ? 0 : slash);
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  return std::pair(text.substr(0, dot), text.substr(dot + 1));
}

} // namespace

std::string TypeName::display() const {
  size_t slash = package.rfind('/');
  std::string element = slash == std::string::npos ? package : package.substr(slash + 1);
  return (pointer ? "*" : "") + element + "." + name;
}

std::string TypeName::qualified() const { return (pointer ? "*" : "") + package + "." + name; }

std::optional<TypeName> parse_type_name(std::string_view text) {
  if (text.size() > kNameBytesMax) return std::nullopt;
  TypeName type;
  if (!text.empty() && text.front() == '*') {
    type.pointer = true;
    text.remove_prefix(1);
  }
  auto parts = split_package(text);
  if (!parts || parts->second.empty() || parts->second.find('.') != std::string_view::npos)
    return std::nullopt;
  type.package = unescaped(parts->first);
  type.name = std::string(parts->second);
  return type;
}

std::optional<FieldName> parse_field_name(std::string_view text) {
  if (text.size() > kNameBytesMax || text.empty() || text.front() == '*') return std::nullopt;
  auto parts = split_package(text);
  if (!parts) return std::nullopt;
  std::vector<std::string> names;
  std::string_view rest = parts->second;
  while (true) {
    size_t dot = rest.find('.');
    names.emplace_back(rest.substr(0, dot));
    if (names.back().empty()) return std::nullopt;
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if (names.size() < 2 || names.size() > kFieldPathDepthMax + 1) return std::nullopt;
  FieldName field;
  field.type = TypeName{false, unescaped(parts->first), std::move(names.front())};
  field.path.assign(names.begin() + 1, names.end());
  return field;
}

} // namespace agent::process
