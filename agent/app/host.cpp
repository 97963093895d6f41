#include "agent/app/host.h"

#include "agent/plan/plan.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>

namespace agent::app {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// What a session that asks for plain HTTP would get of the process.
plan::ProbePlan try_http(const process::GoProcess& process) {
  plan::DesiredState desired;
  plan::DesiredSession session;
  session.spec.set_session_id("trial");
  session.spec.add_probes()->mutable_http();
  desired.sessions["trial"] = session;
  return plan::make_plan(process, desired, {}, {});
}

} // namespace

sonde::v1::Hello describe_host(const Config& config, const probe::KernelFeatures& features) {
  sonde::v1::Hello hello;
  utsname name{};
  uname(&name);
  hello.set_hostname(config.hostname.empty() ? name.nodename : config.hostname);
  hello.set_boot_id(first_line("/proc/sys/kernel/random/boot_id"));
  hello.set_version(SONDE_VERSION);
  hello.set_kernel(name.release);
  hello.set_architecture(std::string(name.machine) == "x86_64" ? "amd64" : name.machine);
  if (features.bpf && features.btf && features.ring_buffer) hello.add_capabilities("http");
  for (const auto& limitation : features.limitations) hello.add_limitations(limitation);
  for (const auto& [key, value] : config.labels) (*hello.mutable_reported_labels())[key] = value;
  return hello;
}

sonde::v1::Process describe_process(const process::GoProcess& go, const std::string& hostname) {
  const auto& process = go.process;
  sonde::v1::Process described;
  described.set_hostname(hostname);
  described.set_pid(process.key.pid);
  constexpr int64_t kSecond = 1'000'000'000;
  described.mutable_start_time()->set_seconds(process.start_wall_ns / kSecond);
  described.mutable_start_time()->set_nanos(static_cast<int32_t>(process.start_wall_ns % kSecond));
  described.set_executable(process.executable);
  for (const auto& argument : process.argv) described.add_command(argument);
  described.set_service(process.service);
  described.set_container_id(process.container_id);
  if (go.binary) {
    described.set_go_version(go.binary->go_version_text);
    described.set_main_module(go.binary->main_module);
    described.set_binary_hash(go.binary->binary_hash);
    described.set_build_id(go.binary->build_id);
  }
  const auto plan = try_http(go);
  if (plan.traces()) described.add_supported_probes("http");
  for (const auto& outcome : plan.outcomes) {
    described.set_reason(outcome.reason);
    described.set_detail(outcome.detail);
  }
  return described;
}

void measure_self(sonde::v1::AgentHealth& health) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  health.set_cpu_seconds(seconds(usage.ru_utime) + seconds(usage.ru_stime));
  std::ifstream statm("/proc/self/statm");
  uint64_t total_pages = 0;
  uint64_t resident_pages = 0;
  statm >> total_pages >> resident_pages;
  health.set_resident_bytes(resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

} // namespace agent::app
