#include "client/cpp/cli/standard_streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"

namespace attention::client {
namespace {

// What the handler of SIGINT writes; never freed, since it may run at any time.
const std::string* interrupt_line = nullptr;

// Only calls that a signal handler may make.
void OnInterrupt(int signal) {
  const ssize_t ignored =
      write(STDERR_FILENO, interrupt_line->data(), interrupt_line->size());
  static_cast<void>(ignored);
  std::raise(signal);  // with its default action again: SA_RESETHAND
}

}  // namespace

void GuardStandardStreams() {
  // Opened the wrong way round, so that its use is an error still. The lowest
  // descriptor that is free is the one that was found closed.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) != -1) continue;
    open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
  std::signal(SIGPIPE, SIG_IGN);
}

void ReportInterrupts(const std::string& line) {
  interrupt_line = new std::string(line);
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  // Started in the background by a script, it ignores Ctrl-C and goes on to.
  struct sigaction before {};
  sigaction(SIGINT, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGINT, &action, nullptr);
}

absl::Status WriteStandardOutput(const std::string& text) {
  errno = 0;
  if (std::cout << text << std::flush) return absl::OkStatus();
  const std::string reason =
      errno == 0 ? "" : absl::StrCat(": ", std::strerror(errno));
  return UsageError(
      absl::StrCat("the standard output cannot be written", reason));
}

}  // namespace attention::client
