// URL paths of google.api.http: "/v1/sessions/{session_id}:stop" and which URLs they match. Pure.
#pragma once

#include "base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace controlplane::edge {

// Field path in the request ("session.id") and the percent-decoded text that stood for it.
struct PathCapture {
  std::string field;
  std::string value;
};

// The path of a URL, cut at its slashes and at the colon of a custom verb; segments are
// percent-decoded.
struct UrlPath {
  std::vector<std::string> segments;
  std::string verb; // "stop" of "/v1/sessions/1:stop"; a literal colon in an id is written %3A
};

// INVALID_PATH for a path without a leading slash, with a broken escape or longer than
// kPathBytesMax.
base::Result<UrlPath> parse_path(std::string_view path);
// The text behind %-escapes; '+' is a space in queries only. INVALID_ESCAPE for a broken one.
enum class PlusIs { kPlus, kSpace };
base::Result<std::string> percent_decode(std::string_view text, PlusIs plus);

// Literals, "{field}" and "{field=**}" (the rest of the path), and a verb at the end.
class PathTemplate {
 public:
  // INVALID_TEMPLATE for what is beyond the above.
  static base::Result<PathTemplate> parse(std::string_view text);

  std::optional<std::vector<PathCapture>> match(const UrlPath& path) const;
  // The fields the template captures, in order.
  std::vector<std::string> fields() const;
  // "/v1/sessions/{session_id}:stop".
  const std::string& text() const { return text_; }
  // More literals win over fewer when several templates match.
  size_t literals() const;

 private:
  enum class Kind { kLiteral, kSegment, kRest };
  struct Part {
    Kind kind;
    std::string text; // the literal, or the field path
  };

  std::string text_;
  std::vector<Part> parts_;
  std::string verb_;
};

} // namespace controlplane::edge
