// What a service over TCP takes that only reads a message, computes and
// answers.
#ifndef BENCH_SOCKET_EXCHANGE_H_
#define BENCH_SOCKET_EXCHANGE_H_

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace attention::bench {

// A connection over loopback, this thread at one end and a thread of its own at
// the other: blocking sockets, the bytes of a message and nothing else.
class SocketExchange {
 public:
  // `serve` is called at the other end between a message and its answer, and
  // must not throw. Throws std::system_error.
  SocketExchange(int64_t bytes, std::function<void()> serve);
  ~SocketExchange();

  SocketExchange(const SocketExchange&) = delete;
  SocketExchange& operator=(const SocketExchange&) = delete;

  // Sends a message and waits for its answer, the same bytes. Throws
  // std::system_error.
  void Once();

  const std::vector<char>& message() const { return message_; }
  const std::vector<char>& answer() const { return answer_; }

 private:
  // A socket that is closed with its owner.
  class Socket {
   public:
    explicit Socket(int fd);
    ~Socket();
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    int fd() const { return fd_; }

   private:
    const int fd_;
  };

  SocketExchange(const Socket& listening, int64_t bytes,
                 std::function<void()> serve);

  std::vector<char> message_, answer_;
  const Socket near_, far_;
  std::thread server_;
};

}  // namespace attention::bench

#endif  // BENCH_SOCKET_EXCHANGE_H_
