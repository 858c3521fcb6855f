#include "bench/socket_exchange.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <numeric>
#include <system_error>
#include <utility>

namespace attention::bench {
namespace {

// `result` of a system call.
int Checked(int result, const char* call) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), call);
  }
  return result;
}

int NewSocket() {
  return Checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

// Returns `fd`, listening on loopback.
int Listening(int fd) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Checked(
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
      "bind");
  Checked(listen(fd, 1), "listen");
  return fd;
}

// Returns `fd`, connected to what listens.
int Connected(int fd, int listening) {
  sockaddr_in address{};
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  Checked(getsockname(listening, any, &size), "getsockname");
  Checked(connect(fd, any, size), "connect");
  return fd;
}

// As gRPC does: what is written goes out at once.
void SendAtOnce(int fd) {
  const int on = 1;
  Checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)),
          "setsockopt");
}

// Whether all of it went before the other end closed.
bool SendAll(int fd, const std::vector<char>& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t sent =
        send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    done += static_cast<size_t>(sent);
  }
  return true;
}

bool ReceiveAll(int fd, std::vector<char>& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t received =
        recv(fd, bytes.data() + done, bytes.size() - done, 0);
    if (received <= 0) return false;
    done += static_cast<size_t>(received);
  }
  return true;
}

}  // namespace

SocketExchange::Socket::Socket(int fd) : fd_(fd) {}
SocketExchange::Socket::~Socket() { close(fd_); }

SocketExchange::SocketExchange(int64_t bytes, std::function<void()> serve)
    : SocketExchange(Socket(Listening(NewSocket())), bytes, std::move(serve)) {}

SocketExchange::SocketExchange(const Socket& listening, int64_t bytes,
                               std::function<void()> serve)
    : message_(static_cast<size_t>(bytes)),
      answer_(message_.size()),
      near_(Connected(NewSocket(), listening.fd())),
      far_(Checked(accept(listening.fd(), nullptr, nullptr), "accept")) {
  std::iota(message_.begin(), message_.end(), 0);
  SendAtOnce(near_.fd());
  SendAtOnce(far_.fd());
  server_ = std::thread([this, serve = std::move(serve)] {
    std::vector<char> memory(message_.size());
    while (ReceiveAll(far_.fd(), memory)) {
      serve();
      if (!SendAll(far_.fd(), memory)) return;
    }
  });
}

SocketExchange::~SocketExchange() {
  shutdown(near_.fd(), SHUT_RDWR);
  server_.join();
}

void SocketExchange::Once() {
  if (!SendAll(near_.fd(), message_) || !ReceiveAll(near_.fd(), answer_)) {
    throw std::system_error(errno, std::generic_category(), "exchange");
  }
}

}  // namespace attention::bench
