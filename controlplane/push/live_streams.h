// Every open stream of every agent at this replica, control and results alike, so that they end at
// once when the agent is banned or evicted, and when the certificate that opened them expires.
#pragma once

#include "base/clock.h"
#include "base/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace controlplane::push {

// Thread-safe.
class LiveStreams {
 public:
  // Called at most once, from any thread, without a lock held; must not block.
  using End = std::function<void(const base::Error&)>;

  // Keeps the stream registered until it is destroyed. After that, `end` is not called and not
  // running.
  class Registration {
   public:
    ~Registration();
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;

   private:
    friend class LiveStreams;
    Registration(LiveStreams& streams, uint64_t id) : streams_(streams), id_(id) {}
    LiveStreams& streams_;
    const uint64_t id_;
  };

  // `not_after` is that of the certificate, wall time.
  std::unique_ptr<Registration> add(std::string agent_id, base::Nanoseconds not_after, End end);
  // Ends all streams of one agent: AGENT_BANNED, AGENT_EVICTED.
  void end(const std::string& agent_id, const base::Error& why);
  // Ends the streams whose certificate has expired at this wall time: CERTIFICATE_EXPIRED.
  void end_expired(base::Nanoseconds wall_time);
  size_t size() const;
  // Those with a stream here.
  std::set<std::string> agents() const;

 private:
  struct Entry {
    std::string agent_id;
    base::Nanoseconds not_after;
    End end;
  };
  template <class Predicate> void end_where(Predicate predicate, const base::Error& why);
  void remove(uint64_t id);

  mutable std::mutex mutex_;
  std::recursive_mutex ending_; // held while an End runs, so that remove() waits for it
  std::map<uint64_t, Entry> entries_;
  uint64_t next_id_ = 1;
};

} // namespace controlplane::push
