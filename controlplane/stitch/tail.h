// Live reading of a session: spans as they are stored, by whichever replica, and changes of the
// session.
#pragma once

#include "base/result.h"

#include "sonde/v1/result_service.pb.h"

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

namespace controlplane::store {
class Pool;
}

namespace controlplane::stitch {

// One reader of one session. Made by Tail::open, given back by dropping it. Thread-safe; no call
// blocks.
class TailReader {
 public:
  virtual ~TailReader() = default;
  // The next event, or none now: `wake` is called when there is one again. A reader that let the
  // backlog overflow gets a `missed` event in place of what was dropped.
  virtual std::optional<sonde::v1::TailSessionResponse> take() = 0;
  // The session is over and take() gave its final state: nothing more will come.
  virtual bool ended() const = 0;
};

// All tail readers of this replica. Owns one thread, which reads the store for them.
class Tail {
 public:
  // `pool` outlives this object.
  explicit Tail(store::Pool& pool);
  ~Tail();

  // `wake` is called from the thread of Tail, without locks held, whenever take() may have
  // something; it must not block and may be called once more while the reader is being dropped.
  // Errors: SESSION_NOT_FOUND, INVALID_EVENT_ID, TOO_MANY_READERS.
  base::Result<std::shared_ptr<TailReader>>
  open(const sonde::v1::TailSessionRequest& request, std::function<void()> wake);

  // Ingest of this replica made a batch of this session durable: its readers look at once. Spans
  // that are not kept in the store come with it as a serialized TracesData, and reach only the
  // readers of this replica. Cheap when nobody reads. Any thread.
  void publish(
      std::string_view session_id, std::string_view agent_id, std::string_view hostname, bool kept,
      std::string_view traces);
  // The session changed (the change feed says so): its readers look at once. Any thread.
  void session_changed(std::string_view session_id);

  // How many readers there are, for metrics.
  size_t readers() const;

 private:
  class Hub;
  std::shared_ptr<Hub> hub_;
};

} // namespace controlplane::stitch
