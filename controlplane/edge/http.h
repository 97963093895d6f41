// An HTTP exchange as the handlers see it: no sockets, no Beast.
#pragma once

#include "controlplane/edge/authenticator.h"
#include "controlplane/edge/dispatch.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace controlplane::edge {

struct HttpRequest {
  std::string verb;  // "GET"
  std::string path;  // as sent, still percent-encoded, without the query
  std::string query; // behind the '?'
  std::string body;
  std::string content_type;
  std::string last_event_id;
  Credentials credentials;
};

struct HttpReply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// An open stream of server-sent events.
struct HttpStream {
  std::unique_ptr<StreamSource> source;
  std::string instance; // path, for a problem on the way
  std::string request_id;
};

using HttpAnswer = std::variant<HttpReply, HttpStream>;

// Thread-safe.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Called first, on the thread of the sockets: for what must answer even when everything else
  // hangs.
  virtual std::optional<HttpReply> at_once(const HttpRequest& request) = 0;
  // Called on a worker; may block on the store.
  virtual HttpAnswer serve(const HttpRequest& request) = 0;
};

// application/problem+json.
HttpReply problem_reply(
    const base::Error& error, std::string_view instance, std::string_view request_id,
    std::string_view body_field = "");

} // namespace controlplane::edge
