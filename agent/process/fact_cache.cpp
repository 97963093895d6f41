#include "agent/process/fact_cache.h"

#include "agent/process/fact_codec.h"
#include "agent/process/limits.h"
#include "base/fd.h"
#include "base/hex.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <vector>

namespace agent::process {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "sonde facts 1\n";
constexpr std::string_view kExtension = ".facts";
constexpr size_t kChecksumBytes = 32;

// Makes room in steps, so that not every store lists the directory.
constexpr size_t kRoomFiles = 64;

std::optional<std::string> read_whole(const std::string& path) {
  base::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  std::string bytes(std::min<size_t>(static_cast<size_t>(status.st_size), kCachedFileBytesMax), 0);
  size_t filled = 0;
  while (filled < bytes.size()) {
    ssize_t n = read(fd.get(), bytes.data() + filled, bytes.size() - filled);
    if (n <= 0) break;
    filled += static_cast<size_t>(n);
  }
  bytes.resize(filled);
  return bytes;
}

bool write_whole(const std::string& path, std::string_view bytes) {
  base::Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return false;
  while (!bytes.empty()) {
    ssize_t n = write(fd.get(), bytes.data(), bytes.size());
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

} // namespace

FactCache::FactCache(std::string directory, const FactRequest& request)
    : directory_(std::move(directory)), request_(request), request_hash_(request_hash(request)) {
  std::error_code failed;
  if (!directory_.empty() && fs::create_directories(directory_, failed))
    fs::permissions(directory_, fs::perms::owner_all, failed);
}

std::string FactCache::key(const FileIdentity& identity) const {
  return std::to_string(identity.device) + " " + std::to_string(identity.inode) + " " +
         std::to_string(identity.size) + " " + std::to_string(identity.change_time_ns) + " " +
         request_hash_ + "\n";
}

std::string FactCache::path(const FileIdentity& identity) const {
  return directory_ + "/" + base::to_hex(base::sha256(key(identity))) + std::string(kExtension);
}

std::optional<BinaryInfo> FactCache::load(const FileIdentity& identity) {
  if (directory_.empty()) return std::nullopt;
  auto bytes = read_whole(path(identity));
  if (!bytes) return std::nullopt;
  std::string_view rest = *bytes;
  std::string head = std::string(kMagic) + key(identity);
  if (rest.size() > head.size() + kChecksumBytes && rest.substr(0, head.size()) == head) {
    std::string_view checksum = rest.substr(head.size(), kChecksumBytes);
    std::string_view facts = rest.substr(head.size() + kChecksumBytes);
    if (base::sha256(head + std::string(facts)) == checksum)
      if (auto info = decode_result(facts, request_, identity.size)) return *std::move(info);
  }
  ++corrupt_;
  unlink(path(identity).c_str());
  return std::nullopt;
}

void FactCache::store(const FileIdentity& identity, const BinaryInfo& info) {
  if (directory_.empty()) return;
  make_room();
  std::string facts = encode(base::Result<BinaryInfo>(info));
  std::string head = std::string(kMagic) + key(identity);
  std::string temporary = path(identity) + "." + base::to_hex(base::random_bytes(8));
  bool written = write_whole(temporary, head + base::sha256(head + facts) + facts) &&
                 rename(temporary.c_str(), path(identity).c_str()) == 0;
  if (written) return;
  unlink(temporary.c_str());
  ++store_failures_;
}

void FactCache::make_room() {
  struct File {
    fs::file_time_type written;
    fs::path path;
  };
  std::vector<File> files;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_, failed))
    files.push_back(File{entry.last_write_time(failed), entry.path()});
  if (files.size() < kCachedFilesMax) return;
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) {
    return a.written < b.written;
  });
  size_t surplus = files.size() - kCachedFilesMax + kRoomFiles;
  for (size_t i = 0; i < surplus; ++i) fs::remove(files[i].path, failed);
}

} // namespace agent::process
