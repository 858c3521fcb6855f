// Where to listen: HOST:PORT or unix:PATH.
#ifndef SERVER_LISTENER_LISTEN_ADDRESS_H_
#define SERVER_LISTENER_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace attention::server {

struct ListenAddress {
  std::string host;  // without brackets
  int port = 0;      // 0: any free one
  std::string path;  // of a Unix socket; empty: it is host and port
  std::string text;  // as it was given

  bool is_unix() const { return !path.empty(); }

  // Whether only this machine can reach it: 127.0.0.0/8, ::1, localhost, a Unix
  // socket.
  bool loopback() const;
};

// "127.0.0.1:50051", "[::1]:0", "localhost:50051", "unix:/run/attention".
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text);

}  // namespace attention::server

#endif  // SERVER_LISTENER_LISTEN_ADDRESS_H_
