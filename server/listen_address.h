// HOST:PORT to listen on.
#ifndef SERVER_LISTEN_ADDRESS_H_
#define SERVER_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace attention::server {

struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;      // 0: any free one

  // Whether only this machine can reach it: 127.0.0.0/8, ::1, localhost.
  bool loopback() const;

  // Why the port cannot be bound now, as far as a second try can tell.
  absl::Status WhyNotBound() const;
};

// "127.0.0.1:50051", "[::1]:0", "localhost:50051".
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text);

}  // namespace attention::server

#endif  // SERVER_LISTEN_ADDRESS_H_
