#include "agent/process/live_check.h"

#include "agent/process/limits.h"
#include "agent/process/proc_files.h"
#include "base/clock.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

namespace agent::process {
namespace {

constexpr uint8_t kBreakpoint = 0xcc;
// Stacks of goroutines are at most 1 GB; those of g0 are what the kernel gave the main thread.
constexpr uint64_t kStackBytesMax = uint64_t{1} << 36;
constexpr uint64_t kLowestAddress = 1 << 16; // vm.mmap_min_addr
constexpr uint64_t kAddressesEnd = uint64_t{1} << 47;
constexpr uint64_t kGoidMax = uint64_t{1} << 48;

base::Error conflict(std::string message) {
  return base::failed_precondition("LAYOUT_CONFLICT", std::move(message));
}

class Memory {
 public:
  explicit Memory(uint32_t pid) : pid_(static_cast<pid_t>(pid)) {}
  // False when not all of it is mapped; errno says the rest.
  bool read(uint64_t address, void* to, size_t size) const {
    iovec local{to, size};
    iovec remote{reinterpret_cast<void*>(address), size};
    return process_vm_readv(pid_, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
  }
  std::optional<uint64_t> u64(uint64_t address) const {
    uint64_t value = 0;
    return read(address, &value, sizeof(value)) ? std::optional(value) : std::nullopt;
  }

 private:
  pid_t pid_;
};

// The process's id in its own pid namespace: what its threads call themselves.
uint64_t own_pid(uint32_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line))
    if (line.rfind("NStgid:", 0) == 0)
      return std::strtoull(line.c_str() + line.find_last_of(" \t") + 1, nullptr, 10);
  return pid;
}

struct Offsets {
  uint64_t g_m = 0, g_goid = 0, g_stack_low = 0, g_stack_high = 0;
  uint64_t m_g0 = 0, m_curg = 0, m_procid = 0;
};

base::Result<Offsets> offsets_of(const BinaryInfo& binary) {
  Offsets offsets;
  for (auto [name, to] :
       {std::pair("runtime.g.m", &offsets.g_m),
        {"runtime.g.goid", &offsets.g_goid},
        {"runtime.g.stack.lo", &offsets.g_stack_low},
        {"runtime.g.stack.hi", &offsets.g_stack_high},
        {"runtime.m.g0", &offsets.m_g0},
        {"runtime.m.curg", &offsets.m_curg},
        {"runtime.m.procid", &offsets.m_procid}}) {
    const Field* field = binary.find_field(name);
    if (field == nullptr)
      return base::failed_precondition(
          "LAYOUT_MISSING", std::string(name) + " is not known: the process cannot be checked");
    *to = field->offset;
  }
  return offsets;
}

// One look at the runtime's own variables.
class RuntimeCheck {
 public:
  RuntimeCheck(const GoProcess& process, const Offsets& offsets)
      : memory_(process.process.key.pid), offsets_(offsets), binary_(*process.binary),
        bias_(process.process.load_bias), own_pid_(own_pid(process.process.key.pid)) {}

  base::Result<void> run() {
    TRY(read_variables());
    uint64_t m0 = TRY(find_m0());
    TRY(check_current(m0));
    return find_goroutines();
  }

 private:
  base::Result<void> read_variables() {
    start_ = binary_.bss_address + bias_;
    uint64_t bytes = binary_.bss_end - binary_.bss_address;
    if (bytes > kVariableBytesMax) return conflict("the program has too many variables to search");
    variables_.resize(bytes / 8);
    if (!memory_.read(start_, variables_.data(), variables_.size() * 8))
      return conflict("the program's variables are not where its file says");
    return {};
  }

  // Go 1.26 puts the heap anywhere: what can be said is where it is not.
  bool may_be_heap(uint64_t address) const {
    uint64_t begin = binary_.segments.front().address + bias_;
    uint64_t end = binary_.segments.back().address + binary_.segments.back().memory_bytes + bias_;
    return address % 8 == 0 && address >= kLowestAddress && address < kAddressesEnd &&
           (address < begin || address >= end);
  }

  std::optional<uint64_t> variable(uint64_t address) const {
    if (address < start_ || address % 8 != 0 || (address - start_) / 8 >= variables_.size())
      return std::nullopt;
    return variables_[(address - start_) / 8];
  }

  base::Result<uint64_t> find_m0() const {
    for (uint64_t i = 0; i < variables_.size(); ++i) {
      uint64_t m = start_ + i * 8;
      auto g0 = variable(m + offsets_.m_g0);
      if (!g0 || *g0 == 0 || variable(*g0 + offsets_.g_m) != m) continue;
      if (variable(m + offsets_.m_procid) != own_pid_) continue;
      auto low = variable(*g0 + offsets_.g_stack_low);
      auto high = variable(*g0 + offsets_.g_stack_high);
      if (low && high && *low < *high && *high - *low <= kStackBytesMax) return m;
    }
    return conflict("runtime.m0 is not found by the layout that the binary gives");
  }

  // What runs on the main thread changes while it is looked at: a few looks must find one moment
  // that holds.
  base::Result<void> check_current(uint64_t m0) const {
    for (int look = 0; look < 20; ++look) {
      auto current = memory_.u64(m0 + offsets_.m_curg);
      if (current && *current == 0) return {};
      if (current && memory_.u64(*current + offsets_.g_m) == m0) return {};
    }
    return conflict("what runtime.m.curg points to does not point back to it");
  }

  base::Result<void> find_goroutines() const {
    size_t candidates = 0;
    for (uint64_t i = 0; i + 2 < variables_.size(); ++i) {
      uint64_t first = variables_[i];
      uint64_t length = variables_[i + 1];
      uint64_t capacity = variables_[i + 2];
      bool may_be =
          may_be_heap(first) && length > 0 && length <= capacity && capacity < (uint64_t{1} << 32);
      if (!may_be) continue;
      if (++candidates > kSliceCandidatesMax) break;
      if (holds_goroutines(first, std::min(length, kSampledGoroutines))) return {};
    }
    return conflict("runtime.allgs is not found by the layout that the binary gives");
  }

  bool holds_goroutines(uint64_t first, uint64_t count) const {
    std::vector<uint64_t> goroutines(count);
    if (!memory_.read(first, goroutines.data(), count * 8)) return false;
    std::set<uint64_t> ids;
    for (uint64_t i = 0; i < count; ++i) {
      if (!may_be_heap(goroutines[i])) return false;
      auto id = memory_.u64(goroutines[i] + offsets_.g_goid);
      auto low = memory_.u64(goroutines[i] + offsets_.g_stack_low);
      auto high = memory_.u64(goroutines[i] + offsets_.g_stack_high);
      // One that has ended keeps its place without a stack.
      if (!id || !low || !high || *id >= kGoidMax || *low > *high ||
          *high - *low > kStackBytesMax || (i == 0 && *id != 1))
        return false;
      if (*id != 0 && !ids.insert(*id).second) return false;
    }
    return true;
  }

  Memory memory_;
  const Offsets& offsets_;
  const BinaryInfo& binary_;
  uint64_t bias_;
  uint64_t own_pid_;
  uint64_t start_ = 0;
  std::vector<uint64_t> variables_;
};

std::chrono::milliseconds patience_with(const Process& process) {
  auto age = base::SystemClock().wall_time() - base::Nanoseconds(process.start_wall_ns);
  return std::chrono::milliseconds(
      age < std::chrono::seconds(kStartSeconds) ? kLiveCheckPatienceAtStartMs
                                                : kLiveCheckPatienceMs);
}

bool same_code(std::string_view file, std::string_view memory) {
  size_t differences = 0;
  for (size_t i = 0; i < file.size(); ++i) {
    if (file[i] == memory[i]) continue;
    if (static_cast<uint8_t>(memory[i]) != kBreakpoint) return false;
    ++differences;
  }
  // Several probes may stand in one function, but not on most of it.
  return differences <= 4;
}

base::Result<void> check_code(const GoProcess& process) {
  Memory memory(process.process.key.pid);
  for (const auto& [name, function] : process.binary->functions) {
    std::string code(function.code.size(), 0);
    if (!memory.read(function.address + process.process.load_bias, code.data(), code.size())) {
      if (errno == ESRCH) return base::not_found("PROCESS_GONE", "the process has ended");
      if (errno == EPERM)
        return base::errno_error("read the memory of the process (CAP_SYS_PTRACE)", errno);
      return conflict(name + " is not mapped where the file says");
    }
    if (!same_code(function.code, code))
      return conflict(name + " is other code in the process than in its file");
  }
  return {};
}

} // namespace

FactRequest live_check_facts() {
  return FactRequest{
      {},
      {"runtime.g.m", "runtime.g.goid", "runtime.g.stack.lo", "runtime.g.stack.hi", "runtime.m.g0",
       "runtime.m.curg", "runtime.m.procid"},
      {}};
}

FactRequest merged(FactRequest request, const FactRequest& more) {
  auto add = [](std::vector<std::string>& to, const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
  };
  add(request.functions, more.functions);
  add(request.fields, more.fields);
  add(request.types, more.types);
  return request;
}

base::Result<void> check_live(const GoProcess& process) {
  if (process.binary == nullptr)
    return base::failed_precondition("LAYOUT_MISSING", "nothing is known of the binary");
  Offsets offsets = TRY(offsets_of(*process.binary));
  TRY(check_code(process));
  auto deadline = std::chrono::steady_clock::now() + patience_with(process.process);
  while (true) {
    auto checked = RuntimeCheck(process, offsets).run();
    if (checked || std::chrono::steady_clock::now() > deadline) return checked;
    if (!ProcFiles().lives(process.process.key))
      return base::not_found("PROCESS_GONE", "the process has ended");
    std::this_thread::sleep_for(std::chrono::milliseconds(kLiveCheckPauseMs));
  }
}

} // namespace agent::process
