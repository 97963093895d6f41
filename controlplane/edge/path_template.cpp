#include "controlplane/edge/path_template.h"

#include "base/hex.h"
#include "controlplane/edge/limits.h"

#include <fmt/format.h>

#include <algorithm>

namespace controlplane::edge {
namespace {

// Cuts "/a/b:verb" into ("/a/b", "verb"): the colon counts only in the last segment, outside
// braces.
std::pair<std::string_view, std::string_view> cut_verb(std::string_view path) {
  auto colon = path.rfind(':');
  if (colon == std::string_view::npos) return {path, {}};
  if (path.find_first_of("/}", colon) != std::string_view::npos) return {path, {}};
  return {path.substr(0, colon), path.substr(colon + 1)};
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

base::Error bad_template(std::string_view text, std::string_view why) {
  return base::internal(fmt::format("path template {}: {}", text, why));
}

} // namespace

base::Result<std::string> percent_decode(std::string_view text, PlusIs plus) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == PlusIs::kSpace) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      auto byte = base::from_hex(text.substr(i + 1, 2));
      if (!byte || byte->size() != 1)
        return base::invalid_argument(
            "INVALID_ESCAPE",
            fmt::format("\"{}\": % must be followed by two hexadecimal digits", text));
      decoded += *byte;
      i += 2;
    }
  }
  return decoded;
}

base::Result<UrlPath> parse_path(std::string_view path) {
  if (path.empty() || path[0] != '/')
    return base::invalid_argument("INVALID_PATH", "the path of a request begins with a slash");
  if (path.size() > kPathBytesMax)
    return base::invalid_argument(
        "INVALID_PATH", fmt::format("the path is longer than {} bytes", kPathBytesMax));
  auto [rest, verb] = cut_verb(path.substr(1));
  UrlPath parsed;
  parsed.verb = verb;
  for (auto segment : split(rest, '/'))
    parsed.segments.push_back(TRY(percent_decode(segment, PlusIs::kPlus)));
  return parsed;
}

base::Result<PathTemplate> PathTemplate::parse(std::string_view text) {
  if (text.empty() || text[0] != '/') return bad_template(text, "must begin with a slash");
  PathTemplate parsed;
  parsed.text_ = text;
  auto [path, verb] = cut_verb(text.substr(1));
  parsed.verb_ = verb;
  for (auto segment : split(path, '/')) {
    if (!segment.starts_with('{')) {
      parsed.parts_.push_back({Kind::kLiteral, std::string(segment)});
      continue;
    }
    if (!segment.ends_with('}')) return bad_template(text, "a variable is a whole segment");
    auto variable = segment.substr(1, segment.size() - 2);
    auto equals = variable.find('=');
    auto pattern = equals == std::string_view::npos ? "*" : variable.substr(equals + 1);
    if (pattern != "*" && pattern != "**") return bad_template(text, "a variable is * or **");
    parsed.parts_.push_back(
        {pattern == "*" ? Kind::kSegment : Kind::kRest, std::string(variable.substr(0, equals))});
  }
  return parsed;
}

std::optional<std::vector<PathCapture>> PathTemplate::match(const UrlPath& path) const {
  if (path.verb != verb_) return std::nullopt;
  std::vector<PathCapture> captures;
  size_t at = 0;
  for (const auto& part : parts_) {
    if (at >= path.segments.size()) return std::nullopt;
    if (part.kind == Kind::kLiteral) {
      if (path.segments[at++] != part.text) return std::nullopt;
    } else if (part.kind == Kind::kSegment) {
      if (path.segments[at].empty()) return std::nullopt;
      captures.push_back({part.text, path.segments[at++]});
    } else {
      std::string rest;
      for (; at < path.segments.size(); ++at) rest += (rest.empty() ? "" : "/") + path.segments[at];
      captures.push_back({part.text, std::move(rest)});
    }
  }
  if (at != path.segments.size()) return std::nullopt;
  return captures;
}

std::vector<std::string> PathTemplate::fields() const {
  std::vector<std::string> fields;
  for (const auto& part : parts_) {
    if (part.kind != Kind::kLiteral) fields.push_back(part.text);
  }
  return fields;
}

size_t PathTemplate::literals() const {
  return static_cast<size_t>(std::count_if(
      parts_.begin(), parts_.end(), [](const Part& part) { return part.kind == Kind::kLiteral; }));
}

} // namespace controlplane::edge
