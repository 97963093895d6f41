#include "agent/plan/frame.h"

#include "agent/plan/instruction.h"

#include <tuple>
#include <utility>

namespace agent::plan {
namespace {

constexpr int64_t kWordBytes = 8;

// How far an instruction of a prologue moves the stack pointer down.
int64_t pushed_bytes(const Instruction& instruction) {
  if (instruction.mnemonic() == ZYDIS_MNEMONIC_PUSH) return kWordBytes;
  const auto& [to, amount] = std::tie(instruction.operands[0], instruction.operands[1]);
  if (to.type != ZYDIS_OPERAND_TYPE_REGISTER || to.reg.value != ZYDIS_REGISTER_RSP ||
      amount.type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
    return 0;
  if (instruction.mnemonic() == ZYDIS_MNEMONIC_SUB) return amount.imm.value.s;
  return instruction.mnemonic() == ZYDIS_MNEMONIC_ADD ? -amount.imm.value.s : 0;
}

// mov [rsp + offset], from
bool stores(const Instruction& instruction, ZydisRegister from, int64_t offset) {
  if (instruction.mnemonic() != ZYDIS_MNEMONIC_MOV) return false;
  const auto& [to, value] = std::tie(instruction.operands[0], instruction.operands[1]);
  return to.type == ZYDIS_OPERAND_TYPE_MEMORY && to.mem.base == ZYDIS_REGISTER_RSP &&
         to.mem.index == ZYDIS_REGISTER_NONE && to.mem.disp.value == offset &&
         value.type == ZYDIS_OPERAND_TYPE_REGISTER && value.reg.value == from;
}

bool leaves(const Instruction& instruction) {
  const auto category = instruction.decoded.meta.category;
  return category == ZYDIS_CATEGORY_COND_BR || category == ZYDIS_CATEGORY_UNCOND_BR ||
         category == ZYDIS_CATEGORY_CALL || category == ZYDIS_CATEGORY_RET;
}

} // namespace

base::Result<> keeps_first_arguments(std::span<const uint8_t> code) {
  InstructionReader reader(code);
  int64_t depth = 0;
  bool first = false;
  bool second = false;
  bool behind_check = false;
  while (auto instruction = reader.next()) {
    const bool check_branch = std::exchange(behind_check, is_stack_check(*instruction));
    if (leaves(*instruction) && !check_branch) break;
    first = first || stores(*instruction, ZYDIS_REGISTER_RAX, depth + kWordBytes);
    second = second || stores(*instruction, ZYDIS_REGISTER_RBX, depth + 2 * kWordBytes);
    if (first && second) return {};
    depth += pushed_bytes(*instruction);
    for (size_t i = 0; i < instruction->decoded.operand_count; ++i) {
      const auto written = instruction->written_register(i);
      if (written == ZYDIS_REGISTER_RAX && !first)
        return base::failed_precondition("NO_SITE", "its first argument moves");
      if (written == ZYDIS_REGISTER_RBX && !second)
        return base::failed_precondition("NO_SITE", "its second argument moves");
    }
  }
  return base::failed_precondition("NO_SITE", "it does not keep its arguments on the stack");
}

} // namespace agent::plan
