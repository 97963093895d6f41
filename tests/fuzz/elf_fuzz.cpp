// Whole files: ELF headers, sections, relocations, build information, and what follows from them.
#include "agent/process/analysis.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const agent::process::FactRequest kRequest{
      {"runtime.gopanic"}, {"runtime.g.goid", "runtime.g.sched.sp"}, {"*net.TCPConn"}};
  auto info = agent::process::analyse(agent::process::Bytes(data, size), kRequest);
  if (!info && info.error().message.empty()) __builtin_trap();
  return 0;
}
