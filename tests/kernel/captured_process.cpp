#include "tests/kernel/captured_process.h"

#include "agent/plan/facts.h"
#include "agent/process/analysis.h"
#include "base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <sstream>

namespace kernel_test {
namespace {

using namespace agent;

// A file as bytes, as long as this lives.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (!fd_ || fstat(fd_.get(), &status) != 0) return;
    size_ = static_cast<size_t>(status.st_size);
    data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_.get(), 0);
  }
  ~MappedFile() {
    if (data_ != MAP_FAILED) munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  process::Bytes bytes() const {
    if (data_ == MAP_FAILED) return {};
    return {static_cast<const uint8_t*>(data_), size_};
  }

 private:
  base::Fd fd_;
  void* data_ = MAP_FAILED;
  size_t size_ = 0;
};

// Where the executable lies in memory, less where it wanted to lie.
uint64_t load_bias_of(pid_t pid, const std::string& path, const process::BinaryInfo& binary) {
  if (!binary.pie) return 0;
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::string line;
  while (std::getline(maps, line) && !line.ends_with(path)) {
  }
  return std::stoull(line.substr(0, line.find('-')), nullptr, 16) - binary.segments.front().address;
}

uint64_t start_ticks_of(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field; // the state is field 3
  return std::stoull(field);
}

plan::DesiredState one_session(const CaptureOptions& options, base::Nanoseconds deadline) {
  plan::DesiredState desired;
  auto& session = desired.sessions["s"];
  session.spec.set_session_id("s");
  auto* probe = session.spec.add_probes()->mutable_http();
  if (!options.client) probe->set_side(sonde::v1::HttpProbe::SERVER);
  if (!options.server) probe->set_side(sonde::v1::HttpProbe::CLIENT);
  session.deadline = deadline;
  return desired;
}

} // namespace

std::optional<std::string> why_no_bpf() {
  if (probe::detect_kernel_features().bpf) return std::nullopt;
  return "no BPF";
}

base::Result<std::unique_ptr<CapturedProcess>>
CapturedProcess::start(const std::string& path, const CaptureOptions& options) {
  auto program = TRY(programs::RunningProgram::start(path, options.arguments));
  std::unique_ptr<CapturedProcess> process(new CapturedProcess(std::move(program)));
  TRY(process->attach(path, options));
  return process;
}

CapturedProcess::~CapturedProcess() {
  if (kernel_) kernel_->unload(std::move(links_));
}

base::Result<> CapturedProcess::attach(const std::string& path, const CaptureOptions& options) {
  MappedFile file(path);
  process::GoProcess process;
  process.binary =
      std::make_shared<process::BinaryInfo>(TRY(process::analyse(file.bytes(), plan::all_facts())));
  process.process.key.pid = pid();
  process.process.key.start_ticks = start_ticks_of(program_.pid());
  process.process.executable = path;
  process.process.load_bias = load_bias_of(program_.pid(), path, *process.binary);
  plan_ =
      plan::make_plan(process, one_session(options, clock_.boot_time() + options.lease), {}, {});
  for (const auto& outcome : plan_.outcomes)
    if (outcome.state != sonde::v1::AssignmentStatus::ACTIVE)
      return base::failed_precondition("NOT_PLANNED", outcome.detail);
  plan_.config.sampling_threshold = plan::threshold_of(options.ratio);
  plan_.config.spans_per_second = options.spans_per_second;
  if (options.hop_key) plan_.config.flags |= PROCESS_HOP_KEY;

  base::Fd ring;
  kernel_ = std::make_unique<probe::BpfKernel>(
      probe::detect_kernel_features(),
      probe::RingReader{[&](base::Fd fd) { ring = std::move(fd); }, [this] { reader_.reset(); }},
      probe::LiveCheck{});
  TRY(kernel_->load());
  reader_ = TRY(event::RecordReader::open(
      ring.get(), clock_, [this, sink = options.sink](const event::HttpExchange& exchange) {
        sink ? sink(exchange) : exchanges_.push_back(exchange);
      }));
  TRY(kernel_->verify(process, plan_));
  TRY(kernel_->set_process(pid(), plan_.config));
  links_.push_back(TRY(kernel_->attach(pid(), plan_.sites)));
  return {};
}

base::Result<> CapturedProcess::configure(const std::function<void(process_config&)>& change) {
  change(plan_.config);
  return kernel_->set_process(pid(), plan_.config);
}

const std::vector<event::HttpExchange>& CapturedProcess::wait_for(size_t count) {
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (exchanges_.size() < count && std::chrono::steady_clock::now() < deadline)
    reader_->poll(5ms);
  reader_->poll(50ms);
  return exchanges_;
}

} // namespace kernel_test
