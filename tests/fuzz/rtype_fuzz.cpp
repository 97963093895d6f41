// Type data: the first two bytes choose version and the number of roots, the rest is descriptors
// and names.
#include "agent/process/runtime_types.h"
#include "tests/fuzz/elf_image.h"

using namespace agent::process;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 1 << 16) return 0;
  GoVersion version{1, data[0] % 11 + 17, 0};
  auto file = fuzz::image_around(data + 2, size - 2);
  auto image = Image::parse(file);
  if (!image) return 0;
  ModuleData module;
  module.types = fuzz::kFuzzedAddress;
  module.types_end = fuzz::kFuzzedAddress + size - 2;
  module.type_links = fuzz::kFuzzedAddress;
  module.type_link_count = data[1];
  if (version.minor >= 27) module.descriptor_bytes = size - 2;
  RuntimeTypes types(*image, version, module);
  const TypeName wanted[] = {
      {false, "runtime", "g"}, {true, "net", "TCPConn"}, {false, "net/http", "Request"}};
  types.find(wanted);
  for (const TypeName& name : wanted) {
    auto descriptor = types.descriptor(name);
    auto field = types.field(FieldName{name, {"goid", "lo"}});
    if (field && !descriptor) __builtin_trap();
  }
  return 0;
}
