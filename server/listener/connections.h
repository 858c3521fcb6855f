// The connections that are open, as the system sees them.
#ifndef SERVER_LISTENER_CONNECTIONS_H_
#define SERVER_LISTENER_CONNECTIONS_H_

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <unordered_map>

#include "server/listener/descriptor.h"

namespace attention::server {

// Holds a duplicate of each connection's descriptor, by which it is known: it
// tells what the system knows of the connection and can end it, while gRPC
// reads and writes by its own. gRPC shuts a connection down before it closes
// it, so a duplicate keeps nothing open. Not thread-safe.
class Connections {
 public:
  // `duplicate` of a connection that was just accepted.
  void Add(Descriptor duplicate);
  // Of one that has ended. Nothing if there is no such connection.
  void Remove(int duplicate);

  // Ends the connection that has been silent for longest, of those of the
  // address that has most: who has many loses one, and nobody else does. It is
  // counted until it is removed. Nothing if all are being ended already.
  void EndIdlestOfMost();

  size_t size() const { return open_.size(); }
  // Those that nobody has ended yet.
  size_t wanted() const { return wanted_; }

 private:
  struct Connection {
    Descriptor duplicate;
    std::string address;  // of the peer, without its port
    std::chrono::steady_clock::time_point since;
    bool is_ending = false;
  };
  // Milliseconds without a byte in or out; since it was accepted where the
  // system does not tell, as of Unix sockets.
  static int64_t SilentFor(const Connection& connection);
  void Forget(Connection& connection);

  std::unordered_map<int, Connection> open_;
  std::map<std::string, size_t> wanted_of_;  // by address
  size_t wanted_ = 0;
};

}  // namespace attention::server

#endif  // SERVER_LISTENER_CONNECTIONS_H_
