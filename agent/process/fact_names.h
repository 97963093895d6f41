// The names in a FactRequest, taken apart.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agent::process {

// "net/http.Request" → package "net/http", name "Request"; "gopkg.in/yaml%2ev3.Node" →
// "gopkg.in/yaml.v3", "Node".
struct TypeName {
  bool pointer = false; // "*net.TCPConn"
  std::string package;  // import path
  std::string name;
  // As Go's reflection prints it, with the last element of the path alone: "*http.Request".
  std::string display() const;
  // As Go's debug information has it: "*net/http.Request".
  std::string qualified() const;
  bool operator==(const TypeName&) const = default;
};

struct FieldName {
  TypeName type;
  std::vector<std::string> path; // one to kFieldPathDepthMax names
};

// Nothing when the text is no such name.
std::optional<TypeName> parse_type_name(std::string_view text);
std::optional<FieldName> parse_field_name(std::string_view text);

} // namespace agent::process
