// What the server is told: command line, environment, config file.
#ifndef SERVER_CONFIG_H_
#define SERVER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/listener/listen_address.h"
#include "server/rpc/door/limits.h"
#include "server/store_location.h"
#include "server/tls.h"

namespace attention::server {

struct Config {
  std::vector<std::string> listen = {"127.0.0.1:50051"};
  bool insecure = false;
  TlsFiles tls;
  std::string port_file;
  std::string store;  // the command line's default is DefaultStore()
  int threads = 0;    // 0: as many as this process may use
  rpc::Limits limits;
  // After SIGTERM: for connections to leave, and then for calls in flight. None
  // for connections, so that a server on a desk stops at once; 10 s for calls
  // are what Docker waits in all.
  double drain_delay_seconds = 0;
  double shutdown_grace_seconds = 10;
  std::string log_level = "info";

  // `listen` in parts.
  std::vector<ListenAddress> addresses;
  // `store` in parts.
  StoreLocation store_location;
};

// A config to run with, or something to print and an exit code.
struct CommandLine {
  std::optional<Config> config;
  int exit_code = 0;
  std::string output;  // for standard output
  std::string error;   // for standard error
};

// Reads flags; each is also an environment variable (--max-axis is
// ATTENTION_MAX_AXIS) and a key of the file that --config names (max-axis). A
// flag wins over the environment, the environment over the file. A name or
// value that is not understood is refused, naming where it came from.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace attention::server

#endif  // SERVER_CONFIG_H_
