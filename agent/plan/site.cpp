#include "agent/plan/site.h"

#include "agent/plan/instruction.h"
#include "agent/plan/limits.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace agent::plan {
namespace {

// Integer arguments of ABIInternal, the closure context, g, and the stack pointer.
constexpr std::array kArgumentRegisters = {
    ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_RBX, ZYDIS_REGISTER_RCX, ZYDIS_REGISTER_RDI,
    ZYDIS_REGISTER_RSI, ZYDIS_REGISTER_R8,  ZYDIS_REGISTER_R9,  ZYDIS_REGISTER_R10,
    ZYDIS_REGISTER_R11, ZYDIS_REGISTER_R14, ZYDIS_REGISTER_RSP};

// is_prefix_bad() of the kernel: it refuses a uprobe on segment and lock prefixes, and where nobody
// has the file mapped it accepts the probe and never fires.
bool is_refused(const Instruction& instruction) {
  return std::any_of(
      instruction.bytes.begin(), instruction.bytes.begin() + instruction.decoded.raw.prefix_count,
      [](uint8_t prefix) {
        return prefix == 0x26 || prefix == 0x2e || prefix == 0x36 || prefix == 0x3e ||
               prefix == 0xf0;
      });
}

// branch_setup_xol_ops and push_setup_xol_ops of arch/x86/kernel/uprobes.c: by opcode and without a
// prefix, since other encodings of the same mnemonic are single-stepped.
std::optional<SiteKind> emulated(const Instruction& instruction) {
  const auto bytes = instruction.bytes;
  const bool rex = bytes[0] == 0x41 && bytes.size() == 2;
  const uint8_t opcode = rex ? bytes[1] : bytes[0];
  if (opcode >= 0x50 && opcode <= 0x57 && bytes.size() == (rex ? 2U : 1U)) return SiteKind::kPush;
  if (opcode >= 0x70 && opcode <= 0x7f && bytes.size() == 2) return SiteKind::kBranch;
  if (opcode == 0x0f && bytes.size() == 6 && bytes[1] >= 0x80 && bytes[1] <= 0x8f)
    return SiteKind::kBranch;
  if ((opcode == 0xeb && bytes.size() == 2) || (opcode == 0xe9 && bytes.size() == 5))
    return SiteKind::kJump;
  if (opcode == 0xe8 && bytes.size() == 5) return SiteKind::kCall;
  if (opcode == 0x90 && bytes.size() == 1) return SiteKind::kNop;
  return std::nullopt;
}

// A huge frame first sees whether the subtraction wraps: sub r12|r13, imm; jb morestack.
bool is_wrap_check(const Instruction& instruction) {
  return instruction.mnemonic() == ZYDIS_MNEMONIC_SUB &&
         (instruction.operands[0].reg.value == ZYDIS_REGISTER_R12 ||
          instruction.operands[0].reg.value == ZYDIS_REGISTER_R13);
}

bool moves_an_argument(const Instruction& instruction) {
  for (size_t i = 0; i < instruction.decoded.operand_count; ++i) {
    const auto written = instruction.written_register(i);
    if (std::find(kArgumentRegisters.begin(), kArgumentRegisters.end(), written) !=
        kArgumentRegisters.end())
      return true;
  }
  return false;
}

Site site_at(std::span<const uint8_t> code, SiteKind kind, const Instruction& instruction) {
  auto prologue = code.first(instruction.end());
  return {
      kind, static_cast<uint32_t>(instruction.offset), kind == SiteKind::kStackCheck,
      std::vector<uint8_t>(prologue.begin(), prologue.end())};
}

// Where a direct branch goes, as an offset from the entry; nothing for other instructions.
std::optional<int64_t> branch_target(const Instruction& instruction) {
  const auto& operand = instruction.operands[0];
  const auto category = instruction.decoded.meta.category;
  if (category != ZYDIS_CATEGORY_COND_BR && category != ZYDIS_CATEGORY_UNCOND_BR)
    return std::nullopt;
  if (operand.type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !operand.imm.is_relative) return std::nullopt;
  return static_cast<int64_t>(instruction.end()) + operand.imm.value.s;
}

// A site that a loop comes back to would count one call many times. Code that does not decode to
// its end proves nothing.
bool runs_once(std::span<const uint8_t> code, const Site& site) {
  InstructionReader reader(code);
  while (auto instruction = reader.next()) {
    auto target = branch_target(*instruction);
    if (target && *target >= 0 && *target <= site.offset_bytes) return false;
  }
  return reader.at_end();
}

base::Error no_site(std::string why) {
  return base::failed_precondition("NO_SITE", std::move(why));
}

} // namespace

base::Result<Site>
find_site(std::span<const uint8_t> code, uint64_t function_bytes, SingleStep single_step) {
  InstructionReader reader(code);
  std::optional<Site> stack_check;
  bool behind_check_compare = false;
  bool behind_wrap_check = false;
  for (size_t count = 0; count < kSiteInstructionsMax; ++count) {
    auto instruction = reader.next();
    if (!instruction) break;
    const bool check_branch = std::exchange(behind_check_compare, is_stack_check(*instruction));
    const bool wrap_branch = std::exchange(behind_wrap_check, is_wrap_check(*instruction));
    auto kind = emulated(*instruction);
    if (kind == SiteKind::kBranch && check_branch) {
      stack_check = site_at(code, SiteKind::kStackCheck, *instruction);
      continue;
    }
    if (kind == SiteKind::kBranch && wrap_branch) continue;
    if (kind == SiteKind::kPush) return site_at(code, *kind, *instruction);
    if (kind && !stack_check) {
      auto site = site_at(code, *kind, *instruction);
      if (code.size() >= function_bytes && runs_once(code, site)) return site;
      break;
    }
    // Behind the check of Go <= 1.20 comes `sub rsp`, and then nothing finds the arguments in
    // place.
    if (kind || moves_an_argument(*instruction)) break;
  }
  if (stack_check) return *std::move(stack_check);
  InstructionReader entry(code);
  auto first = entry.next();
  if (!first) return no_site("the first instruction does not decode");
  if (single_step == SingleStep::kAllow && !is_refused(*first))
    return site_at(code, SiteKind::kSingleStep, *first);
  return no_site("no emulated instruction before the arguments move");
}

bool still_holds(const Site& site, std::span<const uint8_t> code) {
  return code.size() >= site.prologue.size() &&
         std::equal(site.prologue.begin(), site.prologue.end(), code.begin());
}

} // namespace agent::plan
