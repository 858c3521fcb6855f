// A socket that is bound and takes connections.
#ifndef SERVER_LISTENER_LISTENING_SOCKET_H_
#define SERVER_LISTENER_LISTENING_SOCKET_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/listener/descriptor.h"
#include "server/listener/listen_address.h"

namespace attention::server {

// Connections wait in its backlog until they are accepted. A Unix socket's file
// is removed with this object.
class ListeningSocket {
 public:
  // Connections that wait to be accepted; the system has a limit of its own.
  static constexpr int kBacklog = 4096;

  ListeningSocket(Descriptor fd, int port, std::string path)
      : fd_(std::move(fd)), port_(port), path_(std::move(path)) {}
  ~ListeningSocket();
  ListeningSocket(ListeningSocket&& other) noexcept = default;
  ListeningSocket& operator=(ListeningSocket&& other) noexcept = default;

  // Takes over a socket that Listen made of `address` before this process was
  // started anew (exec). Nothing, and `fd` is left alone, if it is anything
  // else.
  static std::optional<ListeningSocket> Adopt(int fd,
                                              const ListenAddress& address);

  int fd() const { return fd_.get(); }
  int port() const { return port_; }  // 0 of a Unix socket
  bool is_unix() const { return port_ == 0; }

 private:
  Descriptor fd_;
  int port_;
  std::string path_;
};

// Binds an address: all that a host's name stands for and this machine has, on
// one port; a Unix socket with mode 0600, in place of the file that a process
// which has ended left there.
//
// ALREADY_EXISTS if another process listens there; INVALID_ARGUMENT if the host
// cannot be resolved or the path is no socket's; UNAVAILABLE, with the system's
// words, for any other reason. No other process of this port ever shares it.
absl::StatusOr<std::vector<ListeningSocket>> Listen(
    const ListenAddress& address);

}  // namespace attention::server

#endif  // SERVER_LISTENER_LISTENING_SOCKET_H_
