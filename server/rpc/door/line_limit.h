// How many lines a log gets of what a client can cause.
#ifndef SERVER_RPC_DOOR_LINE_LIMIT_H_
#define SERVER_RPC_DOOR_LINE_LIMIT_H_

#include <chrono>
#include <cstdint>
#include <utility>

#include "server/core/mutex.h"

namespace attention::rpc {

// Lets so many lines through in a period and counts the others, so that a
// client that is refused as often as it can neither fills a disk nor buries
// what else there is to read. A period begins with the first line after the one
// before. Thread-safe.
class LineLimit {
 public:
  using Clock = std::chrono::steady_clock;

  struct Verdict {
    bool write = false;
    // Of a line that is written: those before it that were not, and of which no
    // line has told yet.
    int64_t left_out = 0;
  };

  explicit LineLimit(int64_t lines,
                     Clock::duration period = std::chrono::seconds(1))
      : lines_(lines), period_(period) {}

  // Of a line that is to be written now. REQUIRES: `now` does not go back by
  // more than threads that meet here do.
  Verdict Ask(Clock::time_point now = Clock::now()) {
    const core::MutexLock lock(mutex_);
    if (!begun_ || now - start_ >= period_) {
      begun_ = true;
      start_ = now;
      written_ = 0;
    }
    if (written_ >= lines_) {
      ++left_out_;
      return {};
    }
    ++written_;
    return {true, std::exchange(left_out_, 0)};
  }

  // Those of which no line has told, for a last line.
  int64_t TakeLeftOut() {
    const core::MutexLock lock(mutex_);
    return std::exchange(left_out_, 0);
  }

 private:
  const int64_t lines_;
  const Clock::duration period_;
  core::Mutex mutex_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  // Of this period, as what is written.
  Clock::time_point start_ ABSL_GUARDED_BY(mutex_);
  int64_t written_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_LINE_LIMIT_H_
