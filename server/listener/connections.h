// The connections that are open, as the system sees them.
#ifndef SERVER_LISTENER_CONNECTIONS_H_
#define SERVER_LISTENER_CONNECTIONS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "server/listener/descriptor.h"
#include "server/listener/incoming.h"
#include "server/memory/ledger.h"
#include "server/rpc/door/arrivals.h"
#include "server/rpc/door/line_limit.h"

namespace attention::server {

// Holds a duplicate of each connection's descriptor, by which it is known: it
// tells what the system knows of the connection and can end it, while gRPC
// reads and writes by its own. gRPC shuts a connection down before it closes
// it, so a duplicate keeps nothing open. Not thread-safe.
class Connections {
 public:
  using Clock = std::chrono::steady_clock;

  // Of one connection.
  struct Limits {
    int64_t arriving_bytes;        // that have reached no call
    Clock::duration receive_idle;  // for which a part of them may stand still
    int64_t broken_calls;          // in a second
  };

  // Of the memory, in eighths, what may be arriving on all connections: less
  // than gRPC's quota (kGrpcEighths of server.cc), so that it is the watch that
  // chooses whom to end.
  static constexpr int64_t kArrivingEighths = 3;

  // Both outlive this.
  Connections(const Limits& limits, rpc::Arrivals& arrivals,
              memory::Ledger& ledger);

  // `duplicate` of a connection that was just accepted.
  void Add(Descriptor duplicate);
  // Of one that has ended. Nothing if there is no such connection.
  void Remove(int duplicate);

  // Ends the connection that has been silent for longest, of those of the
  // address that has most: who has many loses one, and nobody else does. It is
  // counted until it is removed. Nothing if all are being ended already.
  void EndIdlestOfMost();

  // Looks at what is arriving on some of the connections, all of them in turn
  // and those with much of it each time, and ends those that go beyond a limit;
  // also those with most, while more is held than the ledger lends, or all of
  // them have more than their share of it. What is held is what the ledger
  // says, or, where that is more, what is allocated.
  void Watch(Clock::time_point now);

  // Whether so much is arriving that it should be looked at often.
  bool is_flooded() const {
    return ledger_.held(memory::Kind::kArriving) > ledger_.limit() / 16;
  }

  size_t size() const { return open_.size(); }
  // Those that nobody has ended yet.
  size_t wanted() const { return wanted_; }

 private:
  struct Connection {
    Descriptor duplicate;
    std::string address;  // of the peer, without its port
    std::string peer;     // as gRPC writes it
    Clock::time_point since;
    std::optional<Incoming> incoming;  // none of a Unix socket
    bool is_ending = false;
  };
  // Milliseconds without a byte in or out; since it was accepted where the
  // system does not tell, as of Unix sockets.
  static int64_t SilentFor(const Connection& connection);
  void Forget(Connection& connection);
  void End(Connection& connection);
  // The same, and tells why: "it has sent 5 bytes that ...".
  void EndFor(Connection& connection, const std::string& why);
  // Why it is to be ended for what it brings; empty if it is not.
  std::string Fault(const Incoming& incoming, Clock::time_point now) const;
  // Ends the connection that may hold most; returns how much, 0 if none does.
  int64_t EndLargest();
  // By how many bytes more is held than there may be.
  int64_t Excess() const;

  const Limits limits_;
  rpc::Arrivals& arrivals_;
  memory::Ledger& ledger_;
  const int64_t allocated_at_start_;
  std::map<int, Connection> open_;  // by the duplicate
  int looked_at_ = -1;              // the last duplicate whose turn it was
  std::map<std::string, size_t> wanted_of_;  // by address
  size_t wanted_ = 0;
  // Of those that were ended for what they bring; on the heap, so that this can
  // be moved.
  std::unique_ptr<rpc::LineLimit> endings_;
};

}  // namespace attention::server

#endif  // SERVER_LISTENER_CONNECTIONS_H_
