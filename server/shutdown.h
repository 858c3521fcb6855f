// How a server that was told to stop goes away.
#ifndef SERVER_SHUTDOWN_H_
#define SERVER_SHUTDOWN_H_

#include <chrono>
#include <functional>

#include "server/server.h"

namespace attention::server {

struct ShutdownTimes {
  std::chrono::duration<double> drain_delay{0};
  std::chrono::duration<double> grace{0};
};

// Waits as long as its argument for one more signal; whether one came.
using Signalled = std::function<bool(std::chrono::milliseconds)>;

// Takes `server` out of service, so that no call is lost that can be helped
// (docs/adr/0022-a-server-leaves-before-it-stops.md):
// 1. It turns NOT_SERVING, accepts the connections that wait and no others, and
//    goes on serving, new calls too, until the last connection has left or
//    `drain_delay` is over. Connections leave by --max-connection-age.
// 2. What remains gets `grace`. Calls that are still arriving are let in until
//    no call has been open for a moment, for half of the grace at most. Then
//    new ones are answered UNAVAILABLE, and those in flight have the rest of
//    it.
// 3. The server is stopped, which cancels what is left.
// Another signal goes to 3 at once. Logs each step and why it ended.
void ShutDown(const ShutdownTimes& times, const Signalled& signalled,
              Server& server);

}  // namespace attention::server

#endif  // SERVER_SHUTDOWN_H_
