#include "agent/plan/instruction.h"

#include <tuple>

namespace agent::plan {
namespace {

constexpr int64_t kStackGuard0 = 0x10; // g.stackguard0
constexpr int64_t kStackGuard1 = 0x18; // g.stackguard1, of functions on the system stack

} // namespace

ZydisRegister Instruction::written_register(size_t i) const {
  const auto& operand = operands[i];
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return ZYDIS_REGISTER_NONE;
  if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) return ZYDIS_REGISTER_NONE;
  return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand.reg.value);
}

InstructionReader::InstructionReader(std::span<const uint8_t> code) : code_(code) {
  ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

std::optional<Instruction> InstructionReader::next() {
  if (offset_ >= code_.size()) return std::nullopt;
  Instruction instruction;
  auto rest = code_.subspan(offset_);
  auto status = ZydisDecoderDecodeFull(
      &decoder_, rest.data(), rest.size(), &instruction.decoded, instruction.operands.data());
  if (!ZYAN_SUCCESS(status)) return std::nullopt;
  instruction.bytes = rest.first(instruction.decoded.length);
  instruction.offset = offset_;
  offset_ += instruction.decoded.length;
  return instruction;
}

bool is_stack_check(const Instruction& instruction) {
  if (instruction.mnemonic() != ZYDIS_MNEMONIC_CMP) return false;
  const auto& [left, right] = std::tie(instruction.operands[0], instruction.operands[1]);
  return left.type == ZYDIS_OPERAND_TYPE_REGISTER && right.type == ZYDIS_OPERAND_TYPE_MEMORY &&
         (left.reg.value == ZYDIS_REGISTER_RSP || left.reg.value == ZYDIS_REGISTER_R12 ||
          left.reg.value == ZYDIS_REGISTER_R13) &&
         right.mem.base == ZYDIS_REGISTER_R14 && right.mem.index == ZYDIS_REGISTER_NONE &&
         (right.mem.disp.value == kStackGuard0 || right.mem.disp.value == kStackGuard1);
}

} // namespace agent::plan
