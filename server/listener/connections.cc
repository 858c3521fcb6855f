#include "server/listener/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace attention::server {
namespace {

// An IP address, the same for IPv4 mapped into IPv6; empty for a Unix socket.
std::string PeerAddress(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return "";
  }
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr,
              text, sizeof(text));
  } else if (peer.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr,
              text, sizeof(text));
  }
  const std::string address = text;
  constexpr char kMapped[] = "::ffff:";
  return address.starts_with(kMapped) ? address.substr(sizeof(kMapped) - 1)
                                      : address;
}

}  // namespace

void Connections::Add(Descriptor duplicate) {
  const int fd = duplicate.get();
  Connection& connection = open_[fd];
  connection.duplicate = std::move(duplicate);
  connection.address = PeerAddress(fd);
  connection.since = std::chrono::steady_clock::now();
  ++wanted_of_[connection.address];
  ++wanted_;
}

void Connections::Forget(Connection& connection) {
  if (std::exchange(connection.is_ending, true)) return;
  const auto of = wanted_of_.find(connection.address);
  if (--of->second == 0) wanted_of_.erase(of);
  --wanted_;
}

void Connections::Remove(int duplicate) {
  const auto found = open_.find(duplicate);
  if (found == open_.end()) return;
  Forget(found->second);
  open_.erase(found);
}

int64_t Connections::SilentFor(const Connection& connection) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(connection.duplicate.get(), IPPROTO_TCP, TCP_INFO, &info,
                 &length) == 0) {
    return std::min(info.tcpi_last_data_recv, info.tcpi_last_data_sent);
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now() - connection.since)
      .count();
}

void Connections::EndIdlestOfMost() {
  const auto most = std::max_element(
      wanted_of_.begin(), wanted_of_.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == wanted_of_.end()) return;
  Connection* idlest = nullptr;
  int64_t longest = -1;
  for (auto& [fd, connection] : open_) {
    if (connection.is_ending || connection.address != most->first) continue;
    const int64_t silent = SilentFor(connection);
    if (silent > longest) {
      longest = silent;
      idlest = &connection;
    }
  }
  shutdown(idlest->duplicate.get(), SHUT_RDWR);
  Forget(*idlest);
}

}  // namespace attention::server
