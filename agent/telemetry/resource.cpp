#include "agent/telemetry/resource.h"

#include "agent/telemetry/redact.h"

#include "opentelemetry/proto/resource/v1/resource.pb.h"

#include <sys/utsname.h>

#include <ctime>
#include <fstream>

namespace agent::telemetry {
namespace {

constexpr std::string_view kAgentVersion = "0.1.0";

// Names of OpenTelemetry, not of the kernel.
std::string architecture_name(std::string_view machine) {
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  return std::string(machine);
}

class Attributes {
 public:
  explicit Attributes(opentelemetry::proto::resource::v1::Resource& resource)
      : resource_(resource) {}
  void add(const char* key, std::string value) {
    if (value.empty()) return;
    make_text(value.data(), value.size());
    auto& attribute = *resource_.add_attributes();
    attribute.set_key(key);
    attribute.mutable_value()->set_string_value(std::move(value));
  }
  void add(const char* key, int64_t value) {
    auto& attribute = *resource_.add_attributes();
    attribute.set_key(key);
    attribute.mutable_value()->set_int_value(value);
  }

 private:
  opentelemetry::proto::resource::v1::Resource& resource_;
};

std::string rfc3339(int64_t unix_ns) {
  const time_t seconds = unix_ns / 1'000'000'000;
  const int64_t milliseconds = unix_ns % 1'000'000'000 / 1'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  const size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  return std::string(text, size) + '.' + std::to_string(1000 + milliseconds).substr(1) + 'Z';
}

std::string service_name(const ProcessResource& process) {
  if (!process.service_name.empty()) return process.service_name;
  if (process.executable_name.empty()) return "unknown_service";
  return "unknown_service:" + process.executable_name;
}

} // namespace

HostResource read_host_resource() {
  HostResource host;
  utsname names{};
  if (uname(&names) == 0) {
    host.name = names.nodename;
    host.arch = architecture_name(names.machine);
  }
  std::ifstream machine_id("/etc/machine-id");
  std::getline(machine_id, host.id);
  return host;
}

std::string encode_resource(
    const HostResource& host, const ProcessResource& process, int64_t wall_minus_boot_ns) {
  opentelemetry::proto::resource::v1::Resource resource;
  Attributes attributes(resource);
  attributes.add("service.name", service_name(process));
  attributes.add("service.version", process.service_version);
  attributes.add("telemetry.sdk.name", "sonde");
  attributes.add("telemetry.sdk.language", "go");
  attributes.add("telemetry.sdk.version", std::string(kAgentVersion));
  attributes.add("host.name", host.name);
  attributes.add("host.id", host.id);
  attributes.add("host.arch", host.arch);
  attributes.add("os.type", "linux");
  attributes.add("process.pid", static_cast<int64_t>(process.pid));
  if (process.start_boot_ns != 0) {
    const int64_t started = static_cast<int64_t>(process.start_boot_ns) + wall_minus_boot_ns;
    attributes.add("process.creation.time", rfc3339(started));
  }
  attributes.add("process.executable.name", process.executable_name);
  attributes.add("process.executable.path", process.executable_path);
  attributes.add("process.command", process.command);
  if (!process.go_version.empty()) {
    attributes.add("process.runtime.name", "go");
    attributes.add("process.runtime.version", process.go_version);
  }
  attributes.add("container.id", process.container_id);
  return resource.SerializeAsString();
}

} // namespace agent::telemetry
