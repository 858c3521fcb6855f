// How far a transfer has come, on one line of a terminal.
#ifndef CLIENT_CPP_CLI_PROGRESS_BAR_H_
#define CLIENT_CPP_CLI_PROGRESS_BAR_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"
#include "attention/client.h"

namespace attention::client {

// A line like
//
//   layer0 [#######-------]  50% 512.0 MiB of 1.0 GiB, 256.0 MiB/s, 2 s left
//
// that is drawn over and over in its place and wiped at the end. It appears
// after half a second, so that a short transfer shows none, and is drawn at
// most ten times a second. The rate is that of the whole transfer so far. For
// one thread.
class ProgressBar {
 public:
  using Clock = std::chrono::steady_clock;

  // What the line is drawn on: its columns, which may change, the time, and
  // where the characters go.
  struct Terminal {
    std::function<int()> width;
    std::function<Clock::time_point()> now;
    std::function<void(absl::string_view)> write;
  };

  // The transfer starts now. `label` says of what.
  ProgressBar(std::string label, Terminal terminal);

  // Wipes the line if there is one.
  ~ProgressBar();

  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // So much is done. REQUIRES: 0 <= bytes <= total_bytes.
  void Show(int64_t bytes, int64_t total_bytes);

 private:
  std::string Line(int64_t bytes, int64_t total_bytes, double seconds,
                   int width) const;

  const std::string label_;
  const Terminal terminal_;
  const Clock::time_point start_;
  Clock::time_point next_draw_;
  size_t drawn_ = 0;  // characters of the line that stands there
};

// Draws a bar on the standard error of this process, as long as the result or a
// copy of it lives; nothing if that is no terminal, or if `quiet`.
OnProgress ShowProgress(const std::string& label, bool quiet);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_PROGRESS_BAR_H_
