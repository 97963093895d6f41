// Exchanges in, OTLP out: what each session that traces a process gets to see of it.
#pragma once

#include "agent/event/http_exchange.h"
#include "agent/telemetry/resource.h"
#include "base/clock.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace agent::telemetry {

// A share of local roots as the threshold that OpenTelemetry's tracestate `ot=th` carries: a root
// is kept when its 56 bits of randomness are at or above it. 1 keeps all (0), 0 keeps none (2^56).
uint64_t sampling_threshold(double ratio);

// What one session wants of which processes.
struct SessionView {
  std::string session_id;
  uint64_t threshold = 0;        // sampling_threshold(ratio)
  uint32_t spans_per_second = 0; // local roots kept per process; 0: no cap
  bool server = true;            // which sides it asked for
  bool client = true;
  std::vector<uint32_t> pids;
};

// What leaves for one session: a serialized OTLP TracesData and the losses since the batch before.
struct SessionBatch {
  std::string session_id;
  std::string traces; // may be empty: losses alone
  uint32_t spans = 0;
  std::map<std::string, uint64_t> losses; // by reason
};

// Owned by the event thread; every function is called there. Encoding allocates nothing per span in
// the steady state: bytes go into buffers that are reused.
class Telemetry {
 public:
  using Sink = std::function<void(SessionBatch)>;
  // `clock` outlives this object. `sink` is called from within on_exchange() and flush().
  Telemetry(HostResource host, const base::Clock& clock, Sink sink);
  ~Telemetry();

  // Replaces all sessions; what had gathered for a session that is not in it any more leaves at
  // once.
  void set_sessions(std::vector<SessionView> sessions);
  // Before the first exchange of a process, and again when its facts change. A process without one
  // is described by its pid alone.
  void set_process(const ProcessResource& process);
  void forget_process(uint32_t pid);

  // Encodes once and hands to every session that traces this process and whose sampling keeps it.
  void on_exchange(const event::HttpExchange& exchange);
  // Something of this process was lost before it became an exchange (RING_FULL, HEAD_TRUNCATED, …);
  // it is counted in each session that traces the process, or in all sessions for pid 0.
  void count_loss(uint32_t pid, std::string_view reason, uint64_t count);

  // Call after each drain of the ring, at least every 50 ms while there are sessions: sends what is
  // due.
  void flush();
  // Sends everything, due or not: a session ends, or the agent does.
  void flush_all();

  // Spans handed to the sink since the start, per session (for Usage.spans), and losses likewise.
  uint64_t spans_of(std::string_view session_id) const;
  std::map<std::string, uint64_t> losses_of(std::string_view session_id) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace agent::telemetry
