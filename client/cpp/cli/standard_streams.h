// What a shell may do to a program: close its output, stop reading it, fill the
// disk under it, interrupt it.
#ifndef CLIENT_CPP_CLI_STANDARD_STREAMS_H_
#define CLIENT_CPP_CLI_STANDARD_STREAMS_H_

#include <string>

#include "absl/status/status.h"

namespace attention::client {

// To be called before anything is opened. A standard stream that the shell has
// closed stays unusable instead of becoming the next file or connection that is
// opened; a reader that has gone away becomes an error of the write instead of
// a silent end.
void GuardStandardStreams();

// From here on an interrupt (Ctrl-C) prints `line` on the standard error and
// ends the program as the signal does, which a shell shows as 130 and which
// also ends a loop around it. The server sees the connection close, and cancels
// the call.
void ReportInterrupts(const std::string& line);

// Writes `text`, and what the standard output still holds, to the end. A usage
// error, with the reason, if that or anything written there before has failed.
absl::Status WriteStandardOutput(const std::string& text);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_STANDARD_STREAMS_H_
