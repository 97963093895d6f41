#include "agent/probe/bpf_kernel.h"

#include "agent/probe/limits.h"
#include "agent/probe/verify.h"
#include "bpf/include/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "go_panic.skel.h"
#include "http_client.skel.h"
#include "http_dial.skel.h"
#include "http_socket.skel.h"

namespace agent::probe {
namespace {

template <auto kDestroy> struct Destroy {
  template <class T> void operator()(T* object) const { kDestroy(object); }
};
using HttpSocket = std::unique_ptr<http_socket, Destroy<http_socket__destroy>>;
using HttpClient = std::unique_ptr<http_client, Destroy<http_client__destroy>>;
using HttpDial = std::unique_ptr<http_dial, Destroy<http_dial__destroy>>;
using GoPanic = std::unique_ptr<go_panic, Destroy<go_panic__destroy>>;

constexpr auto kTraceUprobeMulti = static_cast<bpf_attach_type>(48);

constexpr std::array<const char*, LOSS_REASONS> kLossNames = {
    "RING_FULL",        "RATE_LIMITED",      "SAMPLED_OUT",        "SOCKET_STORAGE",
    "BYTES_UNREADABLE", "GOROUTINE_UNKNOWN", "CALL_NOT_PLAIN_TCP", "TABLE_FULL"};

// What libbpf and the verifier said last; libbpf's callback knows no context, and only the probe
// thread loads.
thread_local std::string last_words;

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  constexpr size_t kWordsMax = 2000;
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  last_words.append(line.data(), std::min<size_t>(length < 0 ? 0 : length, line.size() - 1));
  if (last_words.size() > kWordsMax) last_words.erase(0, last_words.size() - kWordsMax);
  return length;
}

base::Error load_error(std::string_view object, int error_number) {
  auto error = base::errno_error("load " + std::string(object), error_number);
  error.code = base::Code::kFailedPrecondition;
  const bool permission = error_number == EPERM;
  const bool verifier = last_words.find("PROG LOAD LOG") != std::string::npos;
  const bool btf = last_words.find("BTF") != std::string::npos && !verifier;
  error.reason = permission ? "KERNEL_UNSUPPORTED"
                 : verifier ? "VERIFIER_REJECTED"
                 : btf      ? "BTF_MISSING"
                            : "KERNEL_UNSUPPORTED";
  if (permission) error.message += ": run with CAP_BPF and CAP_PERFMON";
  if (!last_words.empty()) error.message += ": " + last_words;
  return error;
}

template <class F> void for_each_map(bpf_object* object, F&& f) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) f(map);
}

template <class F> void for_each_program(bpf_object* object, F&& f) {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) f(program);
}

// Objects that were compiled apart share the maps of the same name.
void share_maps(bpf_object* object, bpf_object* owner) {
  for_each_map(object, [&](bpf_map* map) {
    if (bpf_map__is_internal(map)) return;
    const auto* shared = bpf_object__find_map_by_name(owner, bpf_map__name(map));
    if (shared != nullptr) bpf_map__reuse_fd(map, bpf_map__fd(shared));
  });
}

uint64_t memory_of(int map_fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(map_fd));
  for (std::string key; info >> key;) {
    uint64_t bytes = 0;
    if (key == "memlock:" && info >> bytes) return bytes;
  }
  return 0;
}

template <class Value> Value sum_of(int map_fd, uint32_t key, Value (*add)(Value, Value)) {
  std::vector<Value> per_cpu(static_cast<size_t>(libbpf_num_possible_cpus()));
  Value total{};
  if (bpf_map_lookup_elem(map_fd, &key, per_cpu.data()) != 0) return total;
  for (const auto& value : per_cpu) total = add(total, value);
  return total;
}

bool is_function_program(uint32_t program) {
  return program == PROGRAM_PANIC || program == PROGRAM_CLIENT_CALL ||
         program == PROGRAM_CLIENT_ERROR || program == PROGRAM_DIAL ||
         program == PROGRAM_DIAL_ERROR;
}

base::Nanoseconds time_of(const program_use& use, uint32_t program) {
  const auto trap = is_function_program(program) ? kUprobeTrap : kTracepointEntry;
  const double measured =
      use.timed_hits == 0 ? static_cast<double>(kProgramTimeGuess.count())
                          : static_cast<double>(use.timed_ns) / static_cast<double>(use.timed_hits);
  return base::Nanoseconds(static_cast<int64_t>(
      static_cast<double>(use.hits) * (measured + static_cast<double>(trap.count()))));
}

} // namespace

struct BpfKernel::Programs {
  HttpSocket socket;
  HttpClient client;
  HttpDial dial;
  GoPanic panic;

  int fd_of(plan::FunctionProgram program) const {
    switch (program) {
    case plan::FunctionProgram::kPanic:
      return bpf_program__fd(panic->progs.on_panic);
    case plan::FunctionProgram::kRoundTrip:
      return bpf_program__fd(client->progs.on_round_trip);
    case plan::FunctionProgram::kRoundTripError:
      return bpf_program__fd(client->progs.on_round_trip_error);
    case plan::FunctionProgram::kDial:
      return bpf_program__fd(dial->progs.on_dial);
    case plan::FunctionProgram::kDialError:
      return bpf_program__fd(dial->progs.on_dial_error);
    }
    return -1;
  }
  // Those at functions, which use the maps of the socket's.
  std::array<bpf_object*, 3> function_objects() const {
    return {client->obj, dial->obj, panic->obj};
  }
  std::array<bpf_object*, 4> objects() const {
    return {socket->obj, client->obj, dial->obj, panic->obj};
  }
};

BpfKernel::BpfKernel(KernelFeatures features, RingReader reader, LiveCheck live_check)
    : features_(std::move(features)), reader_(std::move(reader)),
      live_check_(std::move(live_check)) {
  libbpf_set_print(keep_words);
}

BpfKernel::~BpfKernel() { unload({}); }

base::Result<std::unique_ptr<BpfKernel::Programs>> BpfKernel::load_programs() const {
  if (!features_.bpf || !features_.ring_buffer)
    return base::failed_precondition(
        "KERNEL_UNSUPPORTED",
        features_.limitations.empty() ? "BPF is not available" : features_.limitations.front());
  if (!features_.btf)
    return base::failed_precondition("BTF_MISSING", "/sys/kernel/btf/vmlinux is missing");
  last_words.clear();
  auto programs = std::make_unique<Programs>();
  programs->socket.reset(http_socket__open());
  programs->client.reset(http_client__open());
  programs->dial.reset(http_dial__open());
  programs->panic.reset(go_panic__open());
  if (!programs->socket || !programs->client || !programs->dial || !programs->panic)
    return load_error("the BPF objects", errno);
  if (features_.uprobe_multi)
    for (auto* object : programs->function_objects())
      for_each_program(object, [](bpf_program* program) {
        bpf_program__set_expected_attach_type(program, kTraceUprobeMulti);
      });
  if (int error = http_socket__load(programs->socket.get()))
    return load_error("http_socket", -error);
  for (auto* object : programs->function_objects()) share_maps(object, programs->socket->obj);
  if (int error = http_client__load(programs->client.get()))
    return load_error("http_client", -error);
  if (int error = http_dial__load(programs->dial.get())) return load_error("http_dial", -error);
  if (int error = go_panic__load(programs->panic.get())) return load_error("go_panic", -error);
  return programs;
}

base::Result<> BpfKernel::load() {
  if (loaded()) return {};
  auto programs = TRY(load_programs());
  std::vector<Link> links;
  for (const auto* program :
       {programs->socket->progs.on_receive, programs->socket->progs.on_send,
        programs->socket->progs.on_socket_state})
    links.push_back(TRY(attach_tracing(bpf_program__fd(program))));
  base::Fd ring(fcntl(bpf_map__fd(programs->socket->maps.records), F_DUPFD_CLOEXEC, 0));
  if (!ring) return base::errno_error("duplicate the ring", errno);
  programs_ = std::move(programs);
  socket_links_ = std::move(links);
  rows_ = 0;
  if (reader_.opened) reader_.opened(std::move(ring));
  return {};
}

void BpfKernel::unload(std::vector<Link> links) {
  for (auto& link : socket_links_) links.push_back(std::move(link));
  socket_links_.clear();
  close_all(std::move(links));
  if (!loaded()) return;
  if (reader_.closing) reader_.closing();
  programs_.reset();
}

base::Result<> BpfKernel::verify(const process::GoProcess& process, const plan::ProbePlan& plan) {
  TRY(verify_sites(plan.process.pid, plan.sites));
  if (live_check_) TRY(live_check_(process));
  return {};
}

base::Result<> BpfKernel::set_process(uint32_t pid, const process_config& config) {
  const int map = bpf_map__fd(programs_->socket->maps.process_config);
  process_config row = config;
  process_config old{};
  // The token bucket is the kernel's: a new row must not fill it again.
  const bool known = bpf_map_lookup_elem(map, &pid, &old) == 0;
  if (known) row.next_span_ns = old.next_span_ns;
  if (bpf_map_update_elem(map, &pid, &row, BPF_ANY) == 0) {
    rows_ += known ? 0 : 1;
    return {};
  }
  const bool full = errno == E2BIG;
  auto error = base::errno_error("write the row of pid " + std::to_string(pid), errno);
  error.reason = full ? "PROBE_LIMIT" : "INTERNAL";
  if (full)
    error.message = "more than " + std::to_string(TRACED_PROCESSES_MAX) + " processes are traced";
  return error;
}

void BpfKernel::forget_process(uint32_t pid) {
  if (!loaded()) return;
  if (bpf_map_delete_elem(bpf_map__fd(programs_->socket->maps.process_config), &pid) == 0) --rows_;
}

base::Result<Link> BpfKernel::attach(uint32_t pid, std::span<const plan::FunctionSite> sites) {
  const auto path = "/proc/" + std::to_string(pid) + "/exe";
  std::map<plan::FunctionProgram, std::vector<AttachPoint>> points;
  for (const auto& site : sites) points[site.program].push_back({site.site_offset, site.cookie});
  std::vector<base::Fd> fds;
  for (const auto& [program, at] : points) {
    const int fd = programs_->fd_of(program);
    auto link =
        TRY(features_.uprobe_multi
                ? attach_uprobe_multi(fd, path, at, features_.uprobe_multi_pid ? pid : 0)
                : attach_uprobe_perf(fd, path, at, 0));
    for (auto& link_fd : std::move(link).release()) fds.push_back(std::move(link_fd));
  }
  return Link(std::move(fds));
}

KernelUse BpfKernel::use() const {
  KernelUse use;
  if (!loaded()) return use;
  for (auto* object : programs_->objects())
    for_each_program(object, [&](bpf_program*) { ++use.programs; });
  for_each_map(
      programs_->socket->obj, [&](bpf_map* map) { use.map_bytes += memory_of(bpf_map__fd(map)); });
  use.map_bytes += memory_of(bpf_map__fd(programs_->dial->maps.waiting_dials));
  const int losses = bpf_map__fd(programs_->socket->maps.losses);
  for (uint32_t reason = 0; reason < LOSS_REASONS; ++reason) {
    const auto count =
        sum_of<uint64_t>(losses, reason, [](uint64_t a, uint64_t b) { return a + b; });
    if (count > 0) use.losses[kLossNames[reason]] = count;
  }
  const int uses = bpf_map__fd(programs_->socket->maps.program_use);
  for (uint32_t program = 0; program < PROGRAM_IDS; ++program) {
    const auto total = sum_of<program_use>(uses, program, [](program_use a, program_use b) {
      return program_use{a.hits + b.hits, a.timed_hits + b.timed_hits, a.timed_ns + b.timed_ns};
    });
    use.cost.cpu += time_of(total, program);
  }
  if (reader_.records) use.cost.events = reader_.records();
  use.map_usage_ratio = static_cast<double>(rows_) / static_cast<double>(TRACED_PROCESSES_MAX);
  return use;
}

} // namespace agent::probe
