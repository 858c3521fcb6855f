#include "server/listener/listen_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace attention::server {
namespace {

constexpr char kUnix[] = "unix:";

}  // namespace

bool ListenAddress::loopback() const {
  if (is_unix() || host == "localhost") return true;
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) {
    return ntohl(four.s_addr) >> 24 == 127;
  }
  in6_addr six{};
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&six);
}

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text) {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen is \"", text, "\"; ", why,
                     "; expected HOST:PORT such as 127.0.0.1:50051 or "
                     "[::1]:50051, or unix:PATH"));
  };
  if (absl::StartsWith(text, kUnix)) {
    ListenAddress address;
    address.text = text;
    address.path = text.substr(sizeof(kUnix) - 1);
    if (address.path.empty()) return refuse("it has no path");
    // The system's own limit, with the byte that ends it.
    constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
    if (address.path.size() > kLongest) {
      return refuse(absl::StrCat("the path has ", address.path.size(),
                                 " bytes and at most ", kLongest, " may"));
    }
    return address;
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return refuse("it has no port");
  ListenAddress address;
  address.text = text;
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
