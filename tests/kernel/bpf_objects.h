// What of BPF this machine holds, and waiting for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <ostream>

namespace kernel_test {

// Of Sonde: programs by their names, and the links and maps of those programs.
struct BpfObjects {
  uint32_t programs = 0;
  uint32_t links = 0;
  uint32_t maps = 0;
  bool operator==(const BpfObjects&) const = default;
};
std::ostream& operator<<(std::ostream& out, const BpfObjects& objects);

BpfObjects count_objects();

// Hits of a program (enum program_id), of whichever agent has programs loaded.
uint64_t hits_of(uint32_t program);

// CPU time of this process: what a step costs, whatever else the machine does.
std::chrono::milliseconds cpu_time();

// Asks every 5 ms until it is true or the time is over.
bool eventually(std::chrono::milliseconds within, const std::function<bool()>& condition);

} // namespace kernel_test
