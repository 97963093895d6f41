// A call that got no connection, as an exchange without an answer.
#pragma once

#include "agent/event/http_exchange.h"
#include "agent/event/record.h"

namespace agent::event {

// Everything but its place in a trace. Pure.
HttpExchange exchange_of(const DialError& error);

} // namespace agent::event
