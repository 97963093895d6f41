// Any row of records, well-formed or not, for a few sockets: nothing crashes, and memory stays
// bounded.
//
// The input is a script. Each step begins with four bytes: what happens, on which socket, flags,
// and how many of the bytes that follow belong to it.
#include "agent/event/http_stitcher.h"
#include "agent/event/limits.h"

#include <cstdlib>
#include <map>

namespace {

using namespace agent::event;

struct Socket {
  uint64_t received = 0;
  uint64_t sent = 0;
};

class Script {
 public:
  Script(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  void run() {
    while (rest_.size() >= 4) step();
    stitcher_.advance(now_ns_ + uint64_t{3600} * 1'000'000'000);
    stitcher_.forget_process(kPid);
    if (stitcher_.connections() != 0) std::abort();
  }

 private:
  static constexpr uint32_t kPid = 7;

  uint8_t take_byte() {
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  std::string_view take_bytes(size_t size) {
    const auto bytes = rest_.substr(0, size);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

  void step() {
    const uint8_t what = take_byte(), id = take_byte() % 4, flags = take_byte(), size = take_byte();
    now_ns_ += 1'000'000;
    switch (what % 8) {
    case 0:
    case 1:
    case 2:
      return move(id, flags, take_bytes(size), true, what);
    case 3:
    case 4:
      return move(id, flags, take_bytes(size), false, what);
    case 5:
      return stitcher_.take(SocketState{
          .time_ns = now_ns_,
          .socket_id = id,
          .tgid = kPid,
          .process_exiting = (flags & 1) != 0,
          .old_state = 1,
          .new_state = size % 12,
          .error = flags & 2 ? 104 : 0});
    case 6:
      if (flags & 1)
        return stitcher_.take(
            Panic{.time_ns = now_ns_, .tgid = kPid, .goid = id, .message = take_bytes(size)});
      if (flags & 4) return fail_to_dial(id, flags, take_bytes(size));
      return stitcher_.take(CallError{
          .time_ns = now_ns_,
          .tgid = kPid,
          .goid = id,
          .timed_out = (flags & 2) != 0,
          .message = take_bytes(size)});
    default:
      return stitcher_.advance(now_ns_ += uint64_t{size} * 1'000'000);
    }
  }

  void fail_to_dial(uint8_t id, uint8_t flags, std::string_view bytes) {
    stitcher_.take(DialError{
        .time_ns = now_ns_,
        .tgid = kPid,
        .call_ns = now_ns_ + (flags & 8 ? 1 : 0),
        .goid = id,
        .cause = static_cast<dial_cause>(flags >> 4 & 3),
        .error = flags,
        .method = bytes.substr(0, bytes.size() / 8),
        .host = bytes.substr(bytes.size() / 4),
        .path = bytes,
        .path_is_escaped = (flags & 0x40) != 0,
        .query = bytes,
        .message = bytes});
  }

  void move(uint8_t id, uint8_t flags, std::string_view bytes, bool received, uint8_t what) {
    Socket& socket = sockets_[id];
    uint64_t& offset = received ? socket.received : socket.sent;
    Chunk chunk;
    chunk.time_ns = now_ns_;
    chunk.socket_id = id;
    chunk.tgid = kPid;
    chunk.received = received;
    chunk.flags = flags & 0x7f;
    chunk.other_offset = received ? socket.sent : socket.received;
    chunk.start.goid = id;
    chunk.start.parent_goid = (id + 1) % 4;
    chunk.error = what & 0x40;
    if (what & 0x10) offset += flags;                            // something was lost
    if (what & 0x20 && offset > 0) offset -= offset < 3 ? 1 : 3; // something comes again
    const size_t seen = flags & 0x80 ? bytes.size() / 2 : bytes.size();
    chunk.stream_offset = offset;
    chunk.beginning = bytes.substr(0, seen);
    if (flags & 0x80) chunk.tail = bytes.substr(bytes.size() - bytes.size() / 4);
    chunk.length = static_cast<uint32_t>(bytes.size()) + (what & 0x80 ? 100'000 : 0);
    offset += chunk.length;
    stitcher_.take(chunk);
  }

  std::string_view rest_;
  uint64_t now_ns_ = 1'000'000'000;
  std::map<uint8_t, Socket> sockets_;
  HttpStitcher stitcher_{1, [](const HttpExchange& exchange) {
                           if (exchange.method.empty() ||
                               exchange.target.size() > kTargetBytesMax ||
                               exchange.end_ns < exchange.start_ns)
                             std::abort();
                         }};
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Script(data, size).run();
  return 0;
}
