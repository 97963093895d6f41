// Machine code, one instruction after the other. Internal to agent/plan.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace agent::plan {

struct Instruction {
  ZydisDecodedInstruction decoded{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
  std::span<const uint8_t> bytes;
  size_t offset = 0; // from the function's entry

  ZydisMnemonic mnemonic() const { return decoded.mnemonic; }
  size_t end() const { return offset + bytes.size(); }
  // The 64-bit register that operand `i` changes; NONE when it changes none.
  ZydisRegister written_register(size_t i) const;
};

// Reads a function's instructions from its entry on. The code must outlive it.
class InstructionReader {
 public:
  explicit InstructionReader(std::span<const uint8_t> code);
  // Nothing at the end, and where the bytes do not decode.
  std::optional<Instruction> next();
  bool at_end() const { return offset_ >= code_.size(); }

 private:
  ZydisDecoder decoder_{};
  std::span<const uint8_t> code_;
  size_t offset_ = 0;
};

// cmp rsp|r12|r13, [r14+16|24]: whether the stack has to grow.
bool is_stack_check(const Instruction& instruction);

} // namespace agent::plan
