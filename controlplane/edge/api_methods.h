// The RPCs that people and tools call, each with its use case: the one list of them outside the
// protos.
#pragma once

#include "controlplane/edge/dispatch.h"
#include "controlplane/identity/authority.h"
#include "controlplane/service/services.h"
#include "controlplane/stitch/results.h"
#include "controlplane/stitch/tail.h"

namespace controlplane::edge {

// What the use cases work with; all of it outlives the dispatch.
struct UseCases {
  service::Services& services;
  const identity::Authority& authority;
  stitch::Results& results;
  stitch::Tail& tail;
};

// Adds every RPC of the contract but the streams of agents and enrollment, and finishes the
// dispatch.
base::Result<> add_api_methods(Dispatch& dispatch, UseCases use_cases);

} // namespace controlplane::edge
