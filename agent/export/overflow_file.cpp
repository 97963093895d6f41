#include "agent/export/overflow_file.h"

#include "agent/export/limits.h"
#include "base/log.h"

#include <grpcpp/support/slice.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace agent::exporter {
namespace {

bool write_all(int fd, const uint8_t* bytes, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t written = ::pwrite(fd, bytes, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= static_cast<size_t>(written);
    offset += static_cast<uint64_t>(written);
  }
  return true;
}

bool read_all(int fd, uint8_t* bytes, size_t size, uint64_t offset) {
  while (size > 0) {
    const ssize_t read = ::pread(fd, bytes, size, static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return false;
    bytes += read;
    size -= static_cast<size_t>(read);
    offset += static_cast<uint64_t>(read);
  }
  return true;
}

} // namespace

bool OverflowFile::open() {
  if (file_) return true;
  if (folder_.empty()) return false;
  file_.reset(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file_) return true;
  base::log::warn("export: {} takes no overflow file: {}", folder_.string(), std::strerror(errno));
  folder_.clear(); // said once
  return false;
}

std::optional<OverflowFile::Extent> OverflowFile::reserve(size_t bytes) {
  if (end_ + bytes > kOverflowBytesMax || !open()) return std::nullopt;
  const Extent extent{end_, bytes};
  end_ += bytes;
  used_ += bytes;
  return extent;
}

bool OverflowFile::write(const Extent& extent, const grpc::ByteBuffer& message) const {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return false;
  uint64_t offset = extent.offset;
  for (const auto& slice : slices) {
    if (!write_all(file_.get(), slice.begin(), slice.size(), offset)) return false;
    offset += slice.size();
  }
  return true;
}

std::optional<grpc::ByteBuffer> OverflowFile::get(const Extent& extent) const {
  grpc::Slice slice(extent.bytes);
  // A fresh slice is nobody else's yet.
  auto* bytes = const_cast<uint8_t*>(slice.begin());
  if (!read_all(file_.get(), bytes, extent.bytes, extent.offset)) return std::nullopt;
  return grpc::ByteBuffer(&slice, 1);
}

void OverflowFile::release(const Extent& extent) {
  used_ -= extent.bytes;
  if (used_ != 0) return;
  end_ = 0;
  // A failure only keeps space for later.
  static_cast<void>(!::ftruncate(file_.get(), 0));
}

} // namespace agent::exporter
