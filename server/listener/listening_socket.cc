#include "server/listener/listening_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace attention::server {
namespace {

absl::Status Refused(int reason) {
  if (reason == EADDRINUSE) {
    return absl::AlreadyExistsError("another process listens there");
  }
  return absl::UnavailableError(std::strerror(reason));
}

void Set(const Descriptor& fd, int level, int option, int value) {
  setsockopt(fd.get(), level, option, &value, sizeof(value));
}

// Connections have what is set of the socket that they come from.
void SetTcpOptions(const Descriptor& fd, int family) {
  Set(fd, SOL_SOCKET, SO_REUSEADDR, 1);  // after a restart, at once
  Set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (family == AF_INET6) Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

int PortIn(const sockaddr_storage& bound) {
  return ntohs(bound.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

int PortOf(const Descriptor& fd) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length);
  return PortIn(bound);
}

// Binds one of the addresses that a host's name stands for. `port` replaces its
// own, in network order.
absl::StatusOr<ListeningSocket> ListenTcp(const addrinfo& one, uint16_t port) {
  sockaddr_storage where{};
  std::memcpy(&where, one.ai_addr, one.ai_addrlen);
  if (one.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(where).sin6_port = port;
  } else {
    reinterpret_cast<sockaddr_in&>(where).sin_port = port;
  }
  Descriptor fd(
      socket(one.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return Refused(errno);
  SetTcpOptions(fd, one.ai_family);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where),
           one.ai_addrlen) != 0 ||
      listen(fd.get(), ListeningSocket::kBacklog) != 0) {
    return Refused(errno);
  }
  const int bound = PortOf(fd);
  return ListeningSocket(std::move(fd), bound, "");
}

absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(
    const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(
      address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host cannot be resolved: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found,
                                                                &freeaddrinfo);
  std::vector<ListeningSocket> sockets;
  absl::Status refused;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int port = sockets.empty() ? address.port : sockets.front().port();
    absl::StatusOr<ListeningSocket> socket =
        ListenTcp(*one, htons(static_cast<uint16_t>(port)));
    if (socket.ok()) {
      sockets.push_back(*std::move(socket));
    } else if (absl::IsAlreadyExists(socket.status())) {
      return socket.status();
    } else {
      refused = socket.status();  // a name may stand for what is not there
    }
  }
  if (sockets.empty()) return refused;
  return sockets;
}

// Makes way for a Unix socket: removes the file of one whose process has ended.
absl::Status ClearPath(const std::string& path, const sockaddr_un& where) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0) return absl::OkStatus();
  if (!S_ISSOCK(file.st_mode)) {
    return absl::InvalidArgumentError(
        "there is a file that is no socket; remove it, or name another path");
  }
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe.is_open()) return Refused(errno);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&where),
              sizeof(where)) == 0) {
    return Refused(EADDRINUSE);
  }
  if (errno != ECONNREFUSED) return Refused(errno);
  unlink(path.c_str());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ListeningSocket>> ListenUnix(
    const std::string& path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, path.data(), path.size());
  absl::Status clear = ClearPath(path, where);
  if (!clear.ok()) return clear;
  Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return Refused(errno);
  // Before it has a name, so that nobody else can ever open it.
  fchmod(fd.get(), S_IRUSR | S_IWUSR);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where),
           sizeof(where)) != 0) {
    return Refused(errno);
  }
  std::vector<ListeningSocket> sockets;
  sockets.emplace_back(std::move(fd), 0, path);
  if (listen(sockets.front().fd(), ListeningSocket::kBacklog) != 0) {
    return Refused(errno);
  }
  return sockets;
}

}  // namespace

std::optional<ListeningSocket> ListeningSocket::Adopt(
    int fd, const ListenAddress& address) {
  int listens = 0;
  socklen_t length = sizeof(listens);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 ||
      listens == 0) {
    return std::nullopt;
  }
  sockaddr_storage bound{};
  length = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  if (address.is_unix()) {
    const auto& name = reinterpret_cast<const sockaddr_un&>(bound);
    if (bound.ss_family != AF_UNIX || name.sun_path != address.path) {
      return std::nullopt;
    }
    return ListeningSocket(Descriptor(fd), 0, address.path);
  }
  const int port = PortIn(bound);
  if ((bound.ss_family != AF_INET && bound.ss_family != AF_INET6) ||
      (address.port != 0 && address.port != port)) {
    return std::nullopt;
  }
  return ListeningSocket(Descriptor(fd), port, "");
}

ListeningSocket::~ListeningSocket() {
  if (fd_.is_open() && !path_.empty()) unlink(path_.c_str());
}

absl::StatusOr<std::vector<ListeningSocket>> Listen(
    const ListenAddress& address) {
  return address.is_unix() ? ListenUnix(address.path) : ListenTcp(address);
}

}  // namespace attention::server
