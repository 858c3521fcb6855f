// Where log lines go.
#ifndef SERVER_LOGGING_H_
#define SERVER_LOGGING_H_

#include <string>

namespace attention::server {

// Sends the lines of spdlog and of gRPC to standard error, from a thread of
// their own: a reader that stops reading costs lines, never a request. `level`
// is one of config's. Starts a thread. REQUIRES: called once.
void StartLogging(const std::string& level);

// Writes what is left. False if whoever should read it does not, within a
// second: a thread then still waits for that, and nothing of this process may
// be taken apart any more; it has to end by _Exit.
bool StopLogging();

}  // namespace attention::server

#endif  // SERVER_LOGGING_H_
