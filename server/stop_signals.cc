#include "server/stop_signals.h"

namespace attention::server {

void IgnoreOtherSignals() {
  for (const int number : {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE}) {
    std::signal(number, SIG_IGN);
  }
}

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
}

int StopSignals::Wait() const {
  int number = 0;
  while (sigwait(&set_, &number) != 0) {
  }
  return number;
}

bool StopSignals::WaitFor(std::chrono::milliseconds time) const {
  timespec limit{};
  limit.tv_sec = static_cast<time_t>(time.count() / 1000);
  limit.tv_nsec = time.count() % 1000 * 1'000'000;
  return sigtimedwait(&set_, nullptr, &limit) > 0;
}

}  // namespace attention::server
