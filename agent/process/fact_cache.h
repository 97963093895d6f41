// Facts on disk, so that a restart of the agent reads no binary again. A file per binary and
// request, checksummed; what cannot be read is as good as absent, and is written anew.
#pragma once

#include "agent/process/process.h"
#include "base/result.h"

#include <optional>
#include <string>

namespace agent::process {

// One owner thread.
class FactCache {
 public:
  // Makes the directory (0700) when it is not there. An empty name: nothing is kept.
  FactCache(std::string directory, const FactRequest& request);

  // Only for exactly this file and request. Never by build id, which two programs may share.
  std::optional<BinaryInfo> load(const FileIdentity& identity);
  // Errors cost a later analysis and nothing else; they are counted in store_failures(). Beyond
  // kCachedFilesMax files the oldest go.
  void store(const FileIdentity& identity, const BinaryInfo& info);

  uint64_t corrupt() const { return corrupt_; }
  uint64_t store_failures() const { return store_failures_; }

 private:
  std::string key(const FileIdentity& identity) const;
  std::string path(const FileIdentity& identity) const;
  void make_room();

  std::string directory_;
  FactRequest request_;
  std::string request_hash_;
  uint64_t corrupt_ = 0;
  uint64_t store_failures_ = 0;
};

} // namespace agent::process
