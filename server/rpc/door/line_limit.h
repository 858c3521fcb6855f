// How many lines a log gets of what a client can cause.
#ifndef SERVER_RPC_DOOR_LINE_LIMIT_H_
#define SERVER_RPC_DOOR_LINE_LIMIT_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

namespace attention::rpc {

// Lets so many lines through in a second and counts the others, so that a
// client that is refused as often as it can neither fills a disk nor buries
// what else there is to read. A second begins with the first line after the one
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

  explicit constexpr LineLimit(int64_t per_second) : per_second_(per_second) {}

  // Of a line that is to be written now. REQUIRES: `now` does not go back by
  // more than threads that meet here do.
  Verdict Ask(Clock::time_point now = Clock::now()) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!begun_ || now - second_ >= std::chrono::seconds(1)) {
      begun_ = true;
      second_ = now;
      written_ = 0;
    }
    if (written_ >= per_second_) {
      ++left_out_;
      return {};
    }
    ++written_;
    return {true, std::exchange(left_out_, 0)};
  }

  // Those of which no line has told, for a last line.
  int64_t TakeLeftOut() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(left_out_, 0);
  }

 private:
  const int64_t per_second_;
  std::mutex mutex_;
  bool begun_ = false;
  Clock::time_point second_;
  int64_t written_ = 0;  // in this second
  int64_t left_out_ = 0;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_LINE_LIMIT_H_
