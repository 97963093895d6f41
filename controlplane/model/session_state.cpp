#include "controlplane/model/session_state.h"

#include <fmt/format.h>

namespace controlplane::model {

using sonde::v1::Session;

bool is_final(SessionState state) {
  return state == Session::SUCCEEDED || state == Session::FAILED || state == Session::CANCELLED ||
         state == Session::EXPIRED;
}

bool is_running(SessionState state) {
  return state == Session::SCHEDULED || state == Session::STARTING || state == Session::ACTIVE;
}

bool may_become(SessionState from, SessionState to) {
  switch (from) {
  case Session::SCHEDULED:
  case Session::STARTING:
  case Session::ACTIVE:
    // Forward, or straight to an end that needs no finalizing.
    return (is_running(to) && to > from) || to == Session::STOPPING || to == Session::CANCELLED ||
           to == Session::FAILED;
  case Session::STOPPING:
    return is_final(to);
  default:
    return false;
  }
}

SessionStep next_step(const SessionProgress& now, SessionState ending) {
  if (now.state == Session::STOPPING) {
    SessionState end = ending == Session::STATE_UNSPECIFIED ? Session::SUCCEEDED : ending;
    if (now.waiting + now.active == 0) return {end, "", ending};
    if (now.stop_timed_out)
      return {
          end,
          fmt::format(
              "{} of {} hosts did not confirm the end", now.waiting + now.active, now.hosts),
          ending};
    return {now.state, "", ending};
  }
  if (!is_running(now.state)) return {now.state, "", ending};
  if (now.expired) return {Session::STOPPING, "its time is over", Session::EXPIRED};
  if (now.hosts > 0 && now.refused == now.hosts)
    return {
        Session::STOPPING,
        now.refusal.empty() ? "every host refused it" : "every host refused it: " + now.refusal,
        Session::FAILED};
  if (now.active > 0 && now.state != Session::ACTIVE) return {Session::ACTIVE, "", ending};
  if (now.hosts > 0 && now.state == Session::SCHEDULED) return {Session::STARTING, "", ending};
  return {now.state, "", ending};
}

} // namespace controlplane::model
