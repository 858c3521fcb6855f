// Accepts connections for gRPC.
#ifndef SERVER_LISTENER_ACCEPT_LOOP_H_
#define SERVER_LISTENER_ACCEPT_LOOP_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "server/listener/connections.h"
#include "server/listener/descriptor.h"
#include "server/listener/listening_socket.h"
#include "server/rpc/door/line_limit.h"

namespace attention::server {

// A thread that accepts and hands over. gRPC's own listener is silent for good
// once descriptors have run out (CVE-2023-4785); this one never takes the last,
// and waits until there are more, while connections wait in the backlog. It
// never holds more than `max_connections`: for one beyond, another is closed
// (Connections).
class AcceptLoop {
 public:
  // Takes over a connection's descriptor, which came from this socket.
  using HandOver =
      std::function<void(const ListeningSocket& socket, Descriptor connection)>;

  // What the descriptors of one connection are: gRPC's and the duplicate.
  static constexpr int64_t kDescriptorsEach = 2;
  // What is left to the rest of the process, whose store and log need one now
  // and then; but for some microseconds, in which the loop counts them.
  static constexpr size_t kDescriptorsLeft = 8;
  static constexpr std::chrono::minutes kBetweenWarnings{1};

  // REQUIRES: sockets is not empty; max_connections >= 1. `hand_over` is called
  // on the loop's own thread, which also watches what is arriving on
  // `connections`.
  AcceptLoop(std::vector<ListeningSocket> sockets, int64_t max_connections,
             Connections connections, HandOver hand_over);
  // Stops.
  ~AcceptLoop();
  AcceptLoop(const AcceptLoop&) = delete;
  AcceptLoop& operator=(const AcceptLoop&) = delete;

  // Has what waits in the backlogs accepted and then the sockets closed: who
  // comes later is refused by the system. Returns at once. Connections are
  // watched on.
  void StopAccepting();

  // Whether the sockets are still there: until they have been closed after
  // StopAccepting.
  bool is_listening() const { return is_listening_; }
  // Connections that are open. Thread-safe, as is the one above.
  size_t open() const { return open_; }
  // Connections that were closed because of max_connections, so far.
  int64_t closed_for_others() const { return closed_for_others_; }

  // StopAccepting, with one attempt at what waits; returns when the sockets are
  // closed, and watches nothing from then on. This and StopAccepting are for
  // one thread.
  void Stop();

 private:
  enum class Stage { kAccepting, kClosing, kEnding };

  void Enter(Stage stage);
  void Run();
  // For what happens; -1: however long it takes.
  int MillisecondsToWait() const;
  // Looks at what is arriving, where it is time.
  void WatchArriving();
  // Accepts those that wait, as many as a backlog holds, and closes the
  // sockets; tries again later where descriptors are out.
  void EmptyBacklogs();
  void Close();
  // Accepts those that wait, but no more than `most`, so that no flood of them
  // keeps the loop from all else.
  void AcceptFrom(const ListeningSocket& socket, int most);
  // Accepts one; false if none waits or none can be accepted now.
  bool AcceptOne(const ListeningSocket& socket);
  // A descriptor that is good for nothing yet; none if others need those that
  // there are.
  Descriptor OneToSpare() const;
  // Closes a connection for one that comes.
  void MakeRoom();
  // Stops listening for a moment: there are no descriptors to spare.
  void Pause();
  // EPOLL_CTL_ADD or EPOLL_CTL_MOD.
  void Watch(int how, int fd, uint32_t events);

  std::vector<ListeningSocket> sockets_;
  const size_t max_connections_;
  const HandOver hand_over_;
  Descriptor epoll_;
  Descriptor event_;  // stage_ has changed
  std::atomic<Stage> stage_{Stage::kAccepting};
  std::atomic<bool> is_listening_{true};
  std::atomic<size_t> open_{0};
  std::atomic<int64_t> closed_for_others_{0};
  // The rest is for the loop's thread.
  Connections connections_;
  std::chrono::steady_clock::time_point watched_;  // when it was last looked at
  bool paused_ = false;
  int left_to_empty_;
  // Of descriptors that are out, and of connections that had to go.
  rpc::LineLimit pauses_{1, kBetweenWarnings};
  rpc::LineLimit closings_{1, kBetweenWarnings};
  std::thread thread_;
};

}  // namespace attention::server

#endif  // SERVER_LISTENER_ACCEPT_LOOP_H_
