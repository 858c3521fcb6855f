#include "server/listen_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace attention::server {

bool ListenAddress::loopback() const {
  if (host == "localhost") return true;
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) {
    return ntohl(four.s_addr) >> 24 == 127;
  }
  in6_addr six{};
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&six);
}

absl::Status ListenAddress::WhyNotBound() const {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the host cannot be resolved: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found,
                                                                &freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    const bool bound =
        bind(fd, one->ai_addr, one->ai_addrlen) == 0 && listen(fd, 1) == 0;
    const int reason = errno;
    close(fd);
    if (bound) continue;
    if (reason == EADDRINUSE) {
      return absl::AlreadyExistsError("another process listens there");
    }
    return absl::UnavailableError(std::strerror(reason));
  }
  return absl::OkStatus();
}

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text) {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen is \"", text, "\"; ", why,
                     "; expected HOST:PORT such as 127.0.0.1:50051 or "
                     "[::1]:50051"));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return refuse("it has no port");
  ListenAddress address;
  address.host = text.substr(0, colon);
  if (absl::StartsWith(address.host, "[") &&
      absl::EndsWith(address.host, "]")) {
    address.host = address.host.substr(1, address.host.size() - 2);
  } else if (absl::StrContains(address.host, ":")) {
    return refuse("an IPv6 address needs brackets");
  }
  if (address.host.empty()) return refuse("it has no host");
  if (!absl::SimpleAtoi(text.substr(colon + 1), &address.port) ||
      address.port < 0 || address.port > 65535) {
    return refuse("the port is not a number from 0 to 65535");
  }
  return address;
}

}  // namespace attention::server
