// Where in a function a probe is cheap and still sees the arguments: the engine behind every
// function probe.
//
// The kernel emulates `push`, `jcc`, `jmp`, `call rel32` and `nop` under a uprobe (0.7 us) and
// single-steps everything else (10 us). A Go function with a stack check has one of them before any
// argument moved: `push rbp` behind the check from Go 1.21 on, which runs once per call; before
// that the `jbe` of the check, which runs again after the stack grew.
#pragma once

#include "base/result.h"

#include <cstdint>
#include <span>
#include <vector>

namespace agent::plan {

enum class SiteKind : uint8_t {
  kPush,       // push rbp, behind the stack check or at the entry
  kStackCheck, // jbe of the stack check
  kBranch,     // the first conditional branch of a function without a stack check
  kJump,       // jmp rel
  kCall,       // call rel32
  kNop,        // 0x90
  kSingleStep, // the entry, whatever stands there; only when asked for
};

// A place to attach to. The probe fires with the arguments in the registers of ABIInternal, g in
// r14, and the return address at the stack pointer.
struct Site {
  SiteKind kind = SiteKind::kPush;
  uint32_t offset_bytes = 0; // from the function's entry
  // The stack check branches away when CF or ZF is set, and the function starts anew: such a hit is
  // not a call.
  bool filter_by_flags = false;
  // From the entry to the end of the instruction; must still stand there when the probe is
  // attached.
  std::vector<uint8_t> prologue;
};

enum class SingleStep : uint8_t { kRefuse, kAllow };

// Finds the site of a function from its machine code: the first bytes from its entry, and how long
// it is in all. Without a stack check the whole function is needed, to see that no loop comes back
// to the site. NO_SITE when the first instructions hold no emulated one with all arguments intact,
// or when they cannot be decoded.
base::Result<Site> find_site(
    std::span<const uint8_t> code, uint64_t function_bytes,
    SingleStep single_step = SingleStep::kRefuse);

// True when `code`, read anew from what is mapped, still begins with the prologue of the site.
bool still_holds(const Site& site, std::span<const uint8_t> code);

} // namespace agent::plan
