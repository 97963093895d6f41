#include "sdk-clients/cli/progress.h"

#include <cstdio>

namespace cli {

void Progress::show(const std::string& text) {
  static constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
  if (!terminal_) return;
  std::fprintf(stderr, "\r\x1b[K%s %s", kFrames[frame_++ % std::size(kFrames)], text.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

} // namespace cli
