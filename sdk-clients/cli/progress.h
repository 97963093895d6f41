// What happens while you wait: one line on standard error that is rewritten, on a terminal only.
#pragma once

#include <string>
#include <string_view>

namespace cli {

// One thread. The line is gone when the object is.
class Progress {
 public:
  explicit Progress(bool terminal) : terminal_(terminal) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Shows `text` behind the next frame of a spinner.
  void show(const std::string& text);
  void clear();

 private:
  const bool terminal_;
  bool shown_ = false;
  size_t frame_ = 0;
};

// What Ctrl-C says on standard error before the program ends: a session that was started goes on,
// and whoever started it must know. At most limits::kPartingBytesMax; "" for nothing. One thread.
void set_parting_words(std::string_view text);
// The handler of SIGINT: clears the line, says the words, and ends with kInterrupted.
[[noreturn]] void leave_on_interrupt(int signal);

} // namespace cli
