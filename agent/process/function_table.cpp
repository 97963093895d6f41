#include "agent/process/function_table.h"

#include "agent/process/limits.h"

#include <algorithm>

namespace agent::process {
namespace {

// pc→sp pairs to the first change: the prologue is at the start, or the function has no frame.
constexpr int kStackStepsMax = 64;

} // namespace

FunctionTable::FunctionTable(const Image& image, const GoVersion& version, const ModuleData& module)
    : image_(image), module_(module), addresses_are_offsets_(version.minor >= 18) {
  Bytes table = image.read(module.function_table, module.function_table_bytes).value_or(Bytes{});
  uint64_t offsets = addresses_are_offsets_ ? 32 : 24;
  auto part = [&](uint64_t index) {
    uint64_t offset = load_u64(&table[offsets + index * 8]);
    return slice(table, offset, table.size() - std::min<uint64_t>(offset, table.size()))
        .value_or(Bytes{});
  };
  if (table.size() < 72) return;
  instruction_bytes_ = table[6];
  names_ = part(0);
  pcs_ = part(3);
  functions_ = part(4);
}

base::Result<void> FunctionTable::for_each(const std::function<void(const Entry&)>& visit) const {
  uint64_t entry_bytes = addresses_are_offsets_ ? 8 : 16;
  auto index = slice(functions_, 0, (module_.function_count + 1) * entry_bytes);
  if (!index) return malformed("the function table is cut off");
  auto address_of = [&](uint64_t i) -> uint64_t {
    const uint8_t* entry = index->data() + i * entry_bytes;
    if (addresses_are_offsets_) return module_.text + load_u32(entry);
    uint64_t address = load_u64(entry);
    if (address != 0) return address;
    return image_.pointer(module_.function_table + static_cast<uint64_t>(entry - functions_.data()))
        .value_or(0);
  };
  for (uint64_t i = 0; i < module_.function_count; ++i) {
    const uint8_t* at = index->data() + i * entry_bytes;
    Entry entry;
    entry.address = address_of(i);
    uint64_t next = address_of(i + 1);
    if (next < entry.address || entry.address < module_.text || next > module_.text_end)
      return malformed("the function table is not in order");
    entry.size = next - entry.address;
    entry.record = addresses_are_offsets_ ? load_u32(at + 4) : load_u64(at + 8);
    auto name_offset = slice(functions_, entry.record, 12);
    if (!name_offset) return malformed("a function record lies outside its table");
    uint32_t offset = load_u32(name_offset->data() + (addresses_are_offsets_ ? 4 : 8));
    if (offset >= names_.size()) return malformed("a function name lies outside its table");
    auto name = zero_terminated(names_.subspan(offset));
    if (!name) return malformed("a function name has no end");
    entry.name = *name;
    visit(entry);
  }
  return {};
}

base::Result<Function> FunctionTable::read(const Entry& entry) const {
  auto offset = image_.file_offset(entry.address);
  uint64_t code_bytes = std::min<uint64_t>(entry.size, kFunctionCodeBytesMax);
  auto code = image_.read(entry.address, code_bytes);
  if (!offset || !code) return malformed(std::string(entry.name) + " has no code in the file");
  Function function;
  function.address = entry.address;
  function.file_offset = *offset;
  function.size = entry.size;
  function.prologue_end = prologue_end(entry);
  function.code.assign(reinterpret_cast<const char*>(code->data()), code->size());
  return function;
}

// A pc→value table is pairs of (zigzag value delta, pc delta), from value -1 at the entry to a zero
// delta.
uint64_t FunctionTable::prologue_end(const Entry& entry) const {
  auto record = slice(functions_, entry.record, 24);
  if (!record) return 0;
  uint32_t offset = load_u32(record->data() + (addresses_are_offsets_ ? 16 : 20));
  if (offset == 0 || offset >= pcs_.size()) return 0;
  Bytes pairs = pcs_.subspan(offset);
  int64_t value = -1;
  uint64_t pc = entry.address;
  for (int step = 0; step < kStackStepsMax; ++step) {
    auto delta = take_varint(pairs);
    if (!delta || (*delta == 0 && step > 0)) return 0;
    int64_t magnitude = static_cast<int64_t>(*delta >> 1);
    value += (*delta & 1) != 0 ? -magnitude - 1 : magnitude;
    auto run = take_varint(pairs);
    if (!run) return 0;
    if (value != 0) return pc;
    pc += uint64_t{*run} * instruction_bytes_;
    if (pc - entry.address > entry.size) return 0;
  }
  return 0;
}

} // namespace agent::process
