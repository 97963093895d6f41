// Any bytes as a record of the ring.
#include "agent/event/record.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace agent::event;
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto record = decode(bytes);
  if (!record) return 0;
  if (const auto* chunk = std::get_if<Chunk>(&*record)) {
    const auto* begin = reinterpret_cast<const char*>(data);
    const auto inside = [&](std::string_view view) {
      return view.empty() || (view.data() >= begin && view.data() + view.size() <= begin + size);
    };
    if (!inside(chunk->beginning) || !inside(chunk->tail)) std::abort();
    if (chunk->beginning.size() + chunk->tail.size() > chunk->length) std::abort();
  }
  return 0;
}
