// What the use cases work with. One plain function per RPC: it takes the caller, who was authorised
// already, and the request, blocks on the store, and answers alike whichever transport asked.
#pragma once

#include "base/clock.h"
#include "controlplane/model/validation.h"
#include "controlplane/store/pool.h"

namespace controlplane::service {

// Everything in it is thread-safe and outlives the calls.
struct Services {
  store::Pool& pool;
  const base::Clock& clock;
  model::SessionPolicy policy;
};

// Wall time of the clock.
model::Timestamp now(const Services& services);

} // namespace controlplane::service
