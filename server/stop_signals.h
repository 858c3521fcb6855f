// SIGTERM and SIGINT.
#ifndef SERVER_STOP_SIGNALS_H_
#define SERVER_STOP_SIGNALS_H_

#include <chrono>
#include <csignal>

namespace attention::server {

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
