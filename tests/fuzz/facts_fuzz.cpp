// The worker's answer, as the agent reads it: what is accepted must encode to what decodes to it
// again.
#include "agent/process/fact_codec.h"

using namespace agent::process;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const FactRequest kRequest{{"a"}, {"b.c.d"}, {"e.f"}};
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  auto info = decode_result(bytes, kRequest, 1 << 20);
  if (info) {
    auto again = decode_result(encode(info), kRequest, 1 << 20);
    if (!again || *again != *info) __builtin_trap();
  }
  (void)decode_request(bytes);
  return 0;
}
