// Limits of the command line tool.
#pragma once

#include <chrono>
#include <cstddef>

namespace cli::limits {

// Files given with -f.
inline constexpr size_t kInputBytesMax = 1 << 20;
inline constexpr int kInputDepthMax = 16;
// How far a mistyped word may be from what we suggest.
inline constexpr size_t kSuggestionEditsMax = 3;
inline constexpr std::chrono::milliseconds kPollInterval{100};
// A session and its hosts are read again so often while they tell of different moments.
inline constexpr int kCoherentReadsMax = 3;
// `session run` waits so long for its probes, if not told otherwise.
inline constexpr std::chrono::seconds kWaitForActive{30};
inline constexpr std::chrono::seconds kWaitForHosts{2};
// `session stop` waits so long for the hosts to confirm; after that their leases end the probes.
inline constexpr std::chrono::seconds kWaitForStop{10};
// What agents get if sonded is not told otherwise.
inline constexpr std::chrono::seconds kLease{30};
inline constexpr size_t kPartingBytesMax = 512;
inline constexpr size_t kTerminalColumnsDefault = 120;
inline constexpr size_t kTerminalColumnsMin = 40;
// Of a span's name with its path, in trees and lines.
inline constexpr size_t kSpanTitleColumnsMax = 64;
inline constexpr size_t kBarColumnsMin = 12;
inline constexpr size_t kBarColumnsMax = 48;
// A span deeper than this is drawn at this depth: a damaged trace must not hang the terminal.
inline constexpr size_t kTreeDepthMax = 64;

} // namespace cli::limits
