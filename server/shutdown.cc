#include "server/shutdown.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "server/open_calls.h"

namespace attention::server {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// Between two looks: short beside what a person notices.
constexpr std::chrono::milliseconds kLook(10);

// So long no call may be open before none is taken to be on its way: what has
// been accepted last may still have to shake hands.
constexpr std::chrono::milliseconds kMoment(100);

enum class Outcome { kDone, kTimeIsOver, kSignalled };

Outcome WaitUntil(Clock::time_point end, const Signalled& signalled,
                  const std::function<bool()>& done) {
  while (!done()) {
    if (Clock::now() >= end) return Outcome::kTimeIsOver;
    if (signalled(kLook)) return Outcome::kSignalled;
  }
  return Outcome::kDone;
}

Clock::time_point After(Clock::time_point start, Seconds time) {
  return start + std::chrono::duration_cast<Clock::duration>(time);
}

// Tells when no call has been open for a moment.
class Calm {
 public:
  bool operator()() {
    const OpenCalls calls = CountOpenCalls();
    const auto now = Clock::now();
    if (calls.open() > 0 || calls.begun != begun_) since_ = now;
    begun_ = calls.begun;
    return now - since_ >= kMoment;
  }

 private:
  Clock::time_point since_ = Clock::now();
  int64_t begun_ = -1;
};

// Step 1; whether a signal ended it.
bool LetConnectionsLeave(Seconds delay, const Signalled& signalled,
                         const Server& server) {
  spdlog::info("draining: {} connections get {} s to leave",
               server.connections(), delay.count());
  switch (WaitUntil(After(Clock::now(), delay), signalled,
                    [&server] { return !server.IsReachable(); })) {
    case Outcome::kDone:
      spdlog::info("drained: every connection has left");
      return false;
    case Outcome::kTimeIsOver:
      spdlog::info("--drain-delay is over: {} connections remain",
                   server.connections());
      return false;
    case Outcome::kSignalled:
      break;
  }
  return true;
}

// Step 2; whether a signal ended it.
bool LetCallsFinish(Seconds grace, const Signalled& signalled, Server& server) {
  spdlog::info("{} s for calls in flight", grace.count());
  const auto start = Clock::now();
  Calm calm;
  if (WaitUntil(After(start, grace / 2), signalled, [&] {
        return !server.IsReachable() || calm();
      }) == Outcome::kSignalled) {
    return true;
  }
  server.Drain();
  return WaitUntil(After(start, grace), signalled,
                   [&server] { return server.idle(); }) == Outcome::kSignalled;
}

}  // namespace

void ShutDown(const ShutdownTimes& times, const Signalled& signalled,
              Server& server) {
  server.StopListening();
  const bool again =
      (times.drain_delay.count() > 0 &&
       LetConnectionsLeave(times.drain_delay, signalled, server)) ||
      LetCallsFinish(times.grace, signalled, server);
  if (again) spdlog::warn("told to stop again: not waiting any longer");
  if (!server.idle()) {
    spdlog::warn("cancelling the calls still in flight{}",
                 again ? "" : ": --shutdown-grace is over");
  }
  server.Stop();
  spdlog::info("stopped");
}

}  // namespace attention::server
