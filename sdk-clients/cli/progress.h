// What happens while you wait: one line on standard error that is rewritten, on a terminal only.
#pragma once

#include <string>

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

} // namespace cli
