// SIGTERM and SIGINT.
#ifndef SERVER_STOP_SIGNALS_H_
#define SERVER_STOP_SIGNALS_H_

#include <chrono>
#include <csignal>

namespace attention::server {

// From here on SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGPIPE, none of which is
// about a server, do nothing to this program and to those that it starts:
// whoever closes a terminal or rotates a log ends no call.
void IgnoreOtherSignals();

// Holds both signals back from every thread started after it, for Wait to take.
class StopSignals {
 public:
  StopSignals();

  // Waits for one; returns its number.
  int Wait() const;

  // Waits for one as long as `time`; whether one came.
  bool WaitFor(std::chrono::milliseconds time) const;

 private:
  sigset_t set_;
};

}  // namespace attention::server

#endif  // SERVER_STOP_SIGNALS_H_
