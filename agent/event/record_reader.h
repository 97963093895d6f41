// Reads the ring of records on the thread that owns it.
#pragma once

#include "agent/event/counts.h"
#include "agent/event/http_exchange.h"
#include "agent/event/http_stitcher.h"
#include "base/clock.h"
#include "base/result.h"

#include <chrono>
#include <functional>
#include <memory>

struct ring_buffer;

namespace agent::event {

// The ring's records as exchanges. Belongs to one thread; the map may be closed by others, the ring
// stays as long as this object.
class RecordReader {
 public:
  // `ring_fd` is the map `records` of the http_socket object. Fails with INTERNAL when it cannot be
  // mapped.
  static base::Result<std::unique_ptr<RecordReader>>
  open(int ring_fd, const base::Clock& clock, HttpStitcher::Sink sink);
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // Waits until the kernel says that the ring fills up, or for `timeout` (kPoll is a good one), and
  // then takes all that is there. The sink is called from within, and `piled_up` whenever another
  // kPileBytes had been waiting. Returns the number of records.
  size_t poll(std::chrono::milliseconds timeout, const std::function<void()>& piled_up = {});
  // What has become of the records so far. After a last poll, settle() ends what still waits for
  // silence.
  void settle();
  void forget_process(uint32_t tgid) { stitcher_.forget_process(tgid); }
  StitcherCounts counts() const;
  size_t connections() const { return stitcher_.connections(); }

 private:
  struct FreeRing {
    void operator()(ring_buffer* ring) const;
  };

  RecordReader(const base::Clock& clock, HttpStitcher::Sink sink);
  void take(Record& record);
  int take_pile();
  static int on_record(void* self, void* data, size_t bytes);

  const base::Clock& clock_;
  HttpStitcher stitcher_;
  uint64_t malformed_ = 0;
  size_t records_taken_ = 0; // by this poll
  size_t pile_bytes_ = 0;    // of them, since the last pile was full
  std::unique_ptr<ring_buffer, FreeRing> ring_;
};

} // namespace agent::event
