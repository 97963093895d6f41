// The function table: the first two bytes choose version and count, the rest is the table itself.
#include "agent/process/function_table.h"
#include "tests/fuzz/elf_image.h"

using namespace agent::process;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  GoVersion version{1, data[0] % 11 + 17, 0};
  uint64_t count = data[1];
  auto file = fuzz::image_around(data + 2, size - 2);
  auto image = Image::parse(file);
  if (!image) return 0;
  ModuleData module;
  module.function_table = fuzz::kFuzzedAddress;
  module.function_table_bytes = size - 2;
  module.function_count = count;
  module.text = fuzz::kFuzzedAddress;
  module.text_end = fuzz::kFuzzedAddress + size - 2;
  FunctionTable table(*image, version, module);
  (void)table.for_each([&](const FunctionTable::Entry& entry) {
    auto function = table.read(entry);
    if (!function) return;
    if (function->code.size() > function->size) __builtin_trap();
    if (function->prologue_end != 0 && function->prologue_end - function->address > function->size)
      __builtin_trap();
  });
  return 0;
}
