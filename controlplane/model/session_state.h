// The life of a session:
//
//   SCHEDULED → STARTING → ACTIVE → STOPPING → SUCCEEDED | EXPIRED | FAILED | CANCELLED
//
// SCHEDULED is stored and has no host yet, STARTING has hosts that were not heard of, ACTIVE has a
// probe at work somewhere, STOPPING takes no new data and waits for what is on its way. The four
// others are final.
#pragma once

#include "sonde/v1/session.pb.h"

#include <string>

namespace controlplane::model {

using SessionState = sonde::v1::Session::State;

bool is_final(SessionState state);
// Agents hold it: SCHEDULED, STARTING, ACTIVE.
bool is_running(SessionState state);
bool may_become(SessionState from, SessionState to);

// How a session across the fleet stands, for the transitions that happen by themselves.
struct SessionProgress {
  SessionState state = sonde::v1::Session::SCHEDULED;
  bool expired = false;        // its time is over
  bool stop_timed_out = false; // STOPPING for longer than we wait
  int hosts = 0;               // assigned
  int active = 0;              // ACTIVE or PARTIAL
  int waiting = 0;             // not heard of yet, or applying, or removing
  int refused = 0;             // REJECTED
  std::string refusal;         // the reason most of them gave
};
struct SessionStep {
  SessionState state = sonde::v1::Session::SCHEDULED; // the same as before: nothing to do
  std::string detail;                                 // why, for people
  // With STOPPING: what it becomes once finalized.
  SessionState ending = sonde::v1::Session::STATE_UNSPECIFIED;
};
// The next step by itself. A session that every host refused ends as FAILED at once.
SessionStep next_step(const SessionProgress& progress, SessionState ending);

} // namespace controlplane::model
