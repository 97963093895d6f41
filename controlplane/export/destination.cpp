#include "controlplane/export/destination.h"

#include <algorithm>
#include <cctype>

namespace controlplane::exporter {
namespace {

base::Error invalid(std::string_view name, std::string_view what) {
  return base::invalid_argument(
      "INVALID_DESTINATION", "OTLP destination " + std::string(name) + ": " + std::string(what));
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  });
}

// Header names travel as gRPC metadata: lower case.
std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(
      out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

} // namespace

base::Result<Destination> parse_destination(std::string_view name, std::string_view text) {
  if (!is_name(name)) return invalid(name, "a name has letters, digits, '-', '_' and '.'");
  Destination destination;
  destination.name = name;
  size_t comma = text.find(',');
  std::string_view address = text.substr(0, comma);
  if (address.starts_with("https://")) {
    destination.tls = true;
    address.remove_prefix(8);
  } else if (address.starts_with("http://")) {
    address.remove_prefix(7);
  }
  while (address.ends_with('/')) address.remove_suffix(1);
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == address.size() ||
      address.substr(colon + 1).find_first_not_of("0123456789") != std::string_view::npos ||
      address.find('/') != std::string_view::npos)
    return invalid(name, "give HOST:PORT, or https://HOST:PORT for TLS");
  destination.address = address;
  while (comma != std::string_view::npos) {
    text.remove_prefix(comma + 1);
    comma = text.find(',');
    const std::string_view option = text.substr(0, comma);
    const size_t equals = option.find('=');
    const std::string_view key = option.substr(0, equals);
    if (equals == std::string_view::npos) return invalid(name, "options are KEY=VALUE");
    const std::string value(option.substr(equals + 1));
    if (key == "ca")
      destination.ca_file = value;
    else if (key.starts_with("header.") && key.size() > 7)
      destination.headers[lower(key.substr(7))] = value;
    else
      return invalid(name, "options are ca=FILE and header.NAME=VALUE");
  }
  return destination;
}

} // namespace controlplane::exporter
