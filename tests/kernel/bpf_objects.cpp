#include "tests/kernel/bpf_objects.h"

#include "base/fd.h"
#include "bpf/include/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

namespace kernel_test {
namespace {

constexpr std::array<std::string_view, 6> kPrograms = {
    "on_receive", "on_send", "on_socket_state", "on_round_trip", "on_round_trip_e", "on_panic"};

} // namespace

std::ostream& operator<<(std::ostream& out, const BpfObjects& objects) {
  return out << objects.programs << " programs, " << objects.links << " links, " << objects.maps
             << " maps";
}

BpfObjects count_objects() {
  BpfObjects objects;
  std::set<uint32_t> programs;
  std::set<uint32_t> maps;
  for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
    base::Fd fd(bpf_prog_get_fd_by_id(id));
    std::array<uint32_t, 64> map_ids{};
    bpf_prog_info info{};
    info.map_ids = reinterpret_cast<uint64_t>(map_ids.data());
    info.nr_map_ids = map_ids.size();
    uint32_t size = sizeof(info);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
    if (std::find(kPrograms.begin(), kPrograms.end(), std::string_view(info.name)) ==
        kPrograms.end())
      continue;
    programs.insert(id);
    maps.insert(
        map_ids.begin(), map_ids.begin() + std::min<size_t>(info.nr_map_ids, map_ids.size()));
  }
  for (uint32_t id = 0; bpf_link_get_next_id(id, &id) == 0;) {
    base::Fd fd(bpf_link_get_fd_by_id(id));
    bpf_link_info info{};
    uint32_t size = sizeof(info);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
    objects.links += programs.contains(info.prog_id) ? 1 : 0;
  }
  objects.programs = static_cast<uint32_t>(programs.size());
  objects.maps = static_cast<uint32_t>(maps.size());
  return objects;
}

uint64_t hits_of(uint32_t program) {
  uint64_t hits = 0;
  for (uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;) {
    base::Fd fd(bpf_map_get_fd_by_id(id));
    bpf_map_info info{};
    uint32_t size = sizeof(info);
    if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0) continue;
    if (std::string_view(info.name) != "program_use" || info.value_size != sizeof(program_use))
      continue;
    std::vector<program_use> per_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
    if (bpf_map_lookup_elem(fd.get(), &program, per_cpu.data()) != 0) continue;
    for (const auto& use : per_cpu) hits += use.hits;
  }
  return hits;
}

std::chrono::milliseconds cpu_time() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1'000'000);
}

bool eventually(std::chrono::milliseconds within, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

} // namespace kernel_test
