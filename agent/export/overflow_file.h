// Where batches go that do not fit in memory: a file without a name, which the kernel frees with
// the process.
#pragma once

#include "base/fd.h"

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

namespace agent::exporter {

// One thread at a time, but for write(): that one runs beside the others.
class OverflowFile {
 public:
  struct Extent {
    uint64_t offset = 0;
    size_t bytes = 0;
  };

  // An empty folder: nothing ever fits.
  explicit OverflowFile(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Nothing when the file is full (limits.h) or the folder takes no file.
  std::optional<Extent> reserve(size_t bytes);
  // False when the disk takes nothing more. The extent is not released meanwhile.
  bool write(const Extent& extent, const grpc::ByteBuffer& message) const;
  // Nothing when the disk has failed.
  std::optional<grpc::ByteBuffer> get(const Extent& extent) const;
  // The extent is not needed any more. With the last one the file gives its space back.
  void release(const Extent& extent);

  size_t bytes() const { return used_; }

 private:
  bool open();

  std::filesystem::path folder_;
  base::Fd file_;
  uint64_t end_ = 0;
  size_t used_ = 0;
};

} // namespace agent::exporter
