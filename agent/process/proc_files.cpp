#include "agent/process/proc_files.h"

#include "agent/process/limits.h"
#include "base/clock.h"
#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <memory>

namespace agent::process {
namespace {

constexpr uint64_t kKernelThread = 0x00200000; // PF_KTHREAD
constexpr std::string_view kDeleted = " (deleted)";
constexpr size_t kContainerIdDigits = 64;

struct DirectoryEnd {
  void operator()(DIR* directory) const { closedir(directory); }
};

base::Error gone(uint32_t pid) {
  return base::not_found("PROCESS_GONE", "process " + std::to_string(pid) + " is gone");
}

std::string read_file(const std::string& path, size_t bytes_max) {
  base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  if (!fd) return text;
  char buffer[16384];
  while (text.size() < bytes_max) {
    ssize_t n = read(fd.get(), buffer, std::min(sizeof(buffer), bytes_max - text.size()));
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

template <class Number> bool take_number(std::string_view& text, Number& number, int base = 10) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

std::vector<std::string> split_at_zero(std::string_view text, size_t count_max) {
  std::vector<std::string> parts;
  while (!text.empty() && parts.size() < count_max) {
    size_t end = std::min(text.find('\0'), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return parts;
}

std::string percent_decoded(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    std::string_view digits = text.substr(std::min(i + 1, text.size()), 2);
    if (text[i] == '%' && digits.size() == 2 && take_number(digits, value, 16) && digits.empty()) {
      plain.push_back(static_cast<char>(value));
      i += 2;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// The run of 64 hexadecimal digits in "docker-<id>.scope", "cri-containerd:<id>", "<id>".
std::string container_id_in(std::string_view component) {
  size_t digits = 0;
  for (size_t i = 0; i <= component.size(); ++i) {
    bool is_digit = i < component.size() && std::isxdigit(static_cast<unsigned char>(component[i]));
    if (is_digit) {
      ++digits;
      continue;
    }
    if (digits == kContainerIdDigits)
      return std::string(component.substr(i - kContainerIdDigits, kContainerIdDigits));
    digits = 0;
  }
  return {};
}

void name_service(Process& process, const std::vector<std::string>& environment) {
  std::string attributes;
  for (const std::string& variable : environment) {
    constexpr std::string_view kName = "OTEL_SERVICE_NAME=";
    constexpr std::string_view kAttributes = "OTEL_RESOURCE_ATTRIBUTES=";
    if (variable.rfind(kName, 0) == 0 && variable.size() > kName.size()) {
      process.service = variable.substr(kName.size(), kServiceNameBytesMax);
      process.service_source = ServiceSource::kServiceNameVariable;
      return;
    }
    if (variable.rfind(kAttributes, 0) == 0) attributes = variable.substr(kAttributes.size());
  }
  if (std::string name = service_name_of(attributes); !name.empty()) {
    process.service = name.substr(0, kServiceNameBytesMax);
    process.service_source = ServiceSource::kResourceAttributeVariable;
  } else if (!process.container_id.empty()) {
    process.service = process.container_id.substr(0, 12);
    process.service_source = ServiceSource::kContainer;
  } else if (!process.unit.empty()) {
    process.service = process.unit.substr(0, process.unit.rfind('.'));
    process.service_source = ServiceSource::kUnit;
  } else {
    size_t slash = process.executable.rfind('/');
    process.service = "unknown_service:" + process.executable.substr(slash + 1);
    process.service_source = ServiceSource::kExecutable;
  }
}

int64_t wall_time_of(uint64_t start_ticks) {
  base::SystemClock clock;
  static const int64_t kTicksPerSecond = sysconf(_SC_CLK_TCK);
  int64_t since_boot = static_cast<int64_t>(start_ticks) * (1'000'000'000 / kTicksPerSecond);
  return (clock.wall_time() - clock.boot_time()).count() + since_boot;
}

struct Mapping {
  uint64_t start = 0;
  uint64_t offset = 0;
  uint64_t inode = 0;
};

// "55d0c0a00000-55d0c0b00000 r-xp 00001000 fd:00 4711  /app/server"
std::optional<Mapping> parse_mapping(std::string_view line) {
  Mapping mapping;
  uint64_t end = 0;
  if (!take_number(line, mapping.start, 16) || line.empty()) return std::nullopt;
  line.remove_prefix(1);
  if (!take_number(line, end, 16) || line.size() < 6) return std::nullopt;
  line.remove_prefix(6); // " r-xp "
  if (!take_number(line, mapping.offset, 16)) return std::nullopt;
  size_t device_end = line.find(' ', 1);
  if (device_end == std::string_view::npos) return std::nullopt;
  line.remove_prefix(device_end + 1);
  if (!take_number(line, mapping.inode)) return std::nullopt;
  return mapping;
}

} // namespace

FileIdentity identity_of(const struct stat& status) {
  return FileIdentity{
      status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
      status.st_ctim.tv_sec * int64_t{1'000'000'000} + status.st_ctim.tv_nsec};
}

std::optional<StatLine> parse_stat(std::string_view text) {
  size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || text.size() < name_end + 3) return std::nullopt;
  text.remove_prefix(name_end + 2);
  StatLine line;
  line.state = text.front();
  // Fields are counted from 1; the state is the third.
  for (int field = 3; field <= 28; ++field) {
    if (field == 9 && !take_number(text, line.flags)) return std::nullopt;
    if (field == 22 && !take_number(text, line.start_ticks)) return std::nullopt;
    if (field == 28 && !take_number(text, line.stack_start)) return std::nullopt;
    size_t space = text.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    text.remove_prefix(space + 1);
  }
  return line;
}

ControlGroup parse_cgroup(std::string_view text) {
  ControlGroup group;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    size_t path = line.find(":/");
    if (path == std::string_view::npos) continue;
    line.remove_prefix(path + 2);
    while (!line.empty()) {
      std::string_view component = line.substr(0, line.find('/'));
      line.remove_prefix(std::min(line.size(), component.size() + 1));
      if (std::string id = container_id_in(component); !id.empty()) group.container_id = id;
      constexpr std::string_view kService = ".service";
      if (component.size() > kService.size() &&
          component.substr(component.size() - kService.size()) == kService)
        group.unit = component;
    }
  }
  return group;
}

std::string service_name_of(std::string_view resource_attributes) {
  while (!resource_attributes.empty()) {
    std::string_view pair = resource_attributes.substr(0, resource_attributes.find(','));
    resource_attributes.remove_prefix(std::min(resource_attributes.size(), pair.size() + 1));
    pair.remove_prefix(std::min(pair.find_first_not_of(' '), pair.size()));
    constexpr std::string_view kKey = "service.name=";
    if (pair.substr(0, kKey.size()) == kKey) return percent_decoded(pair.substr(kKey.size()));
  }
  return {};
}

std::string ProcFiles::path(uint32_t pid, std::string_view file) const {
  return directory_ + "/" + std::to_string(pid) + "/" + std::string(file);
}

std::vector<uint32_t> ProcFiles::pids() const {
  std::vector<uint32_t> pids;
  std::unique_ptr<DIR, DirectoryEnd> directory(opendir(directory_.c_str()));
  if (directory == nullptr) return pids;
  while (dirent* entry = readdir(directory.get())) {
    std::string_view name = entry->d_name;
    uint32_t pid = 0;
    if (take_number(name, pid) && name.empty()) pids.push_back(pid);
  }
  return pids;
}

base::Result<Process> ProcFiles::read(uint32_t pid) const {
  auto stat_line = parse_stat(read_file(path(pid, "stat"), 4096));
  if (!stat_line || stat_line->state == 'X' || (stat_line->flags & kKernelThread) != 0)
    return gone(pid);
  Process process;
  process.key.pid = pid;
  process.key.start_ticks = stat_line->start_ticks;
  process.key.stack_start = stat_line->stack_start;
  struct stat status {};
  // A zombie has no executable any more; one whose first thread has ended still has.
  if (stat(path(pid, "exe").c_str(), &status) != 0) return gone(pid);
  process.key.executable = identity_of(status);
  char target[4096];
  ssize_t n = readlink(path(pid, "exe").c_str(), target, sizeof(target));
  if (n <= 0) return gone(pid);
  process.executable.assign(target, static_cast<size_t>(n));
  if (process.executable.ends_with(kDeleted))
    process.executable.resize(process.executable.size() - kDeleted.size());
  process.argv = split_at_zero(read_file(path(pid, "cmdline"), kArgumentBytesMax), kArgumentsMax);
  ControlGroup group = parse_cgroup(read_file(path(pid, "cgroup"), kControlGroupBytesMax));
  process.container_id = std::move(group.container_id);
  process.unit = std::move(group.unit);
  process.start_wall_ns = wall_time_of(stat_line->start_ticks);
  name_service(
      process, split_at_zero(read_file(path(pid, "environ"), kEnvironmentBytesMax), SIZE_MAX));
  return process;
}

base::Result<int> ProcFiles::open_executable(const ProcessKey& key) const {
  base::Fd fd(open(path(key.pid, "exe").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ESRCH) return gone(key.pid);
    return base::errno_error("open the executable of process " + std::to_string(key.pid), errno);
  }
  struct stat status {};
  if (fstat(fd.get(), &status) != 0 || identity_of(status) != key.executable) return gone(key.pid);
  return fd.release();
}

base::Result<uint64_t> ProcFiles::load_bias(const ProcessKey& key, const BinaryInfo& binary) const {
  std::string maps = read_file(path(key.pid, "maps"), kMapsBytesMax);
  if (maps.empty()) return gone(key.pid);
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::string_view rest = maps;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    auto mapping = parse_mapping(line);
    if (!mapping || mapping->inode != key.executable.inode) continue;
    for (const LoadSegment& segment : binary.segments) {
      if (!segment.executable || segment.file_offset / page != mapping->offset / page) continue;
      uint64_t bias = mapping->start - segment.address / page * page;
      if (!binary.pie && bias != 0) break;
      return bias;
    }
  }
  return base::failed_precondition(
      "LAYOUT_CONFLICT",
      "the executable of process " + std::to_string(key.pid) + " is not mapped as its file says");
}

bool ProcFiles::lives(const ProcessKey& key) const {
  auto stat_line = parse_stat(read_file(path(key.pid, "stat"), 4096));
  struct stat status {};
  return stat_line && stat_line->start_ticks == key.start_ticks &&
         stat_line->stack_start == key.stack_start &&
         stat(path(key.pid, "exe").c_str(), &status) == 0 && identity_of(status) == key.executable;
}

} // namespace agent::process
