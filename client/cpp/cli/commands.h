// The commands of `attention`.
#ifndef CLIENT_CPP_CLI_COMMANDS_H_
#define CLIENT_CPP_CLI_COMMANDS_H_

#include <chrono>
#include <functional>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "attention/client.h"

namespace attention::client {

// What a command runs against.
struct Connection {
  const Client& client;
  std::optional<std::chrono::nanoseconds> timeout;  // of each call

  // For one call, from now on.
  CallOptions Options() const {
    return timeout.has_value() ? Within(*timeout) : CallOptions();
  }
};

// What the command line asks for: set by the command that was parsed, run once
// the whole line is known to be right. Prints its result; the status is that of
// the server or a usage error.
using Action = std::function<absl::Status(const Connection&)>;

// Each adds a command with its flags to `app`; parsing it sets `action`.
// REQUIRES: `action` outlives `app`.
void AddComputeCommand(CLI::App& app, Action& action);
void AddHeatmapCommand(CLI::App& app, Action& action);
void AddWeightsCommand(CLI::App& app, Action& action);
void AddInfoCommand(CLI::App& app, Action& action);
void AddHealthCommand(CLI::App& app, Action& action);
void AddBenchCommand(CLI::App& app, Action& action);
void AddDemoCommand(CLI::App& app, Action& action);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_COMMANDS_H_
