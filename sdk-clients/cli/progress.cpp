#include "sdk-clients/cli/progress.h"

#include "sdk-clients/cli/exit_code.h"
#include "sdk-clients/cli/limits.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <tuple>
#include <unistd.h>

namespace cli {

namespace {

// Read in a signal handler: plain memory, and a size that is zero while it changes.
std::array<char, limits::kPartingBytesMax> parting_words;
std::atomic<size_t> parting_bytes{0};

} // namespace

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

void set_parting_words(std::string_view text) {
  parting_bytes = 0;
  parting_bytes = text.copy(parting_words.data(), parting_words.size());
}

void leave_on_interrupt(int) {
  static constexpr std::string_view kEndOfLine = "\r\x1b[K";
  // What cannot be said is not said.
  if (isatty(STDERR_FILENO) != 0)
    std::ignore = write(STDERR_FILENO, kEndOfLine.data(), kEndOfLine.size());
  std::ignore = write(STDERR_FILENO, parting_words.data(), parting_bytes);
  _exit(kInterrupted);
}

} // namespace cli
