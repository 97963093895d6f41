#include "agent/event/record_reader.h"

#include "agent/event/limits.h"
#include "agent/event/record.h"
#include "agent/event/unread.h"

#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace agent::event {
namespace {

// Ends ring_buffer__consume(), behind the record that said it.
constexpr int kPileIsFull = -ECANCELED;

uint64_t random_seed(const base::Clock& clock) {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
    seed = static_cast<uint64_t>(clock.boot_time().count()); // never: the pool is up long before us
  return seed;
}

bool read_memory(uint32_t pid, uint64_t address, void* out, size_t bytes) {
  const iovec to{.iov_base = out, .iov_len = bytes};
  const iovec from{.iov_base = reinterpret_cast<void*>(address), .iov_len = bytes};
  return process_vm_readv(static_cast<pid_t>(pid), &to, 1, &from, 1, 0) ==
         static_cast<ssize_t>(bytes);
}

} // namespace

void RecordReader::FreeRing::operator()(ring_buffer* ring) const { ring_buffer__free(ring); }

RecordReader::RecordReader(const base::Clock& clock, HttpStitcher::Sink sink)
    : clock_(clock), stitcher_(random_seed(clock), std::move(sink)) {}
RecordReader::~RecordReader() = default;

base::Result<std::unique_ptr<RecordReader>>
RecordReader::open(int ring_fd, const base::Clock& clock, HttpStitcher::Sink sink) {
  std::unique_ptr<RecordReader> reader(new RecordReader(clock, std::move(sink)));
  reader->ring_.reset(ring_buffer__new(ring_fd, &RecordReader::on_record, reader.get(), nullptr));
  if (!reader->ring_) return base::errno_error("map the ring of records", errno);
  return reader;
}

int RecordReader::on_record(void* self, void* data, size_t bytes) {
  auto* reader = static_cast<RecordReader*>(self);
  if (auto record = decode({static_cast<const std::byte*>(data), bytes}))
    reader->take(*record);
  else
    ++reader->malformed_;
  ++reader->records_taken_;
  reader->pile_bytes_ += bytes;
  return reader->pile_bytes_ < kPileBytes ? 0 : kPileIsFull;
}

void RecordReader::take(Record& record) {
  std::string text;
  std::visit(
      [&text](auto& any) {
        if constexpr (requires { any.message_at; }) {
          const uint32_t pid = any.tgid;
          read_unread(
              any,
              [pid](uint64_t address, void* out, size_t bytes) {
                return read_memory(pid, address, out, bytes);
              },
              text);
        }
      },
      record);
  stitcher_.take(record);
}

int RecordReader::take_pile() {
  pile_bytes_ = 0;
  return ring_buffer__consume(ring_.get());
}

size_t
RecordReader::poll(std::chrono::milliseconds timeout, const std::function<void()>& piled_up) {
  epoll_event event;
  epoll_wait(ring_buffer__epoll_fd(ring_.get()), &event, 1, static_cast<int>(timeout.count()));
  // Records of before this moment are in the ring by now, or they were in a program that is still
  // running: that is over long before anything waits for their silence.
  const auto now = clock_.boot_time();
  records_taken_ = 0;
  while (take_pile() == kPileIsFull)
    if (piled_up) piled_up();
  stitcher_.advance(static_cast<uint64_t>(now.count()));
  return records_taken_;
}

void RecordReader::settle() {
  stitcher_.advance(static_cast<uint64_t>((clock_.boot_time() + 100 * kSettle).count()));
}

StitcherCounts RecordReader::counts() const {
  StitcherCounts counts = stitcher_.statistics();
  counts.malformed_records += malformed_;
  return counts;
}

} // namespace agent::event
