// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pure.
#pragma once

#include "base/result.h"

#include <google/protobuf/message.h>

#include <chrono>
#include <string>
#include <string_view>

namespace controlplane::edge {

// One event: `id:` from the message's field event_id when it has one, `event:` the name of the
// field that is set in its oneof, `data:` the message as JSON.
base::Result<std::string> sse_event(const google::protobuf::Message& message);
// The last event of a stream that failed; data is problem+json.
std::string
sse_error(const base::Error& error, std::string_view instance, std::string_view request_id);
// How soon the reader comes back; the first thing in a stream.
std::string sse_retry(std::chrono::milliseconds after);
// Says nothing, and keeps proxies from closing the connection.
std::string sse_keep_alive();

} // namespace controlplane::edge
