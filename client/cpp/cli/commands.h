// The commands of `attention`.
#ifndef CLIENT_CPP_CLI_COMMANDS_H_
#define CLIENT_CPP_CLI_COMMANDS_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "attention/client.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

inline constexpr char kDefaultTarget[] = "127.0.0.1:50051";

// What a command runs against.
struct Connection {
  const Client& client;
  std::optional<std::chrono::nanoseconds> timeout;  // of each call
  std::string target;                               // where `client` calls

  // For one call, from now on.
  CallOptions Options() const {
    return timeout.has_value() ? Within(*timeout) : CallOptions();
  }
};

// What the command line asks for: set by the command that was parsed, run once
// the whole line is known to be right. Prints its result; the status is that of
// the server or a usage error.
using Action = std::function<absl::Status(const Connection&)>;

// Each adds a command with its flags to `app`; parsing it sets `action`. A
// command has a description of one line, a footer with a section "Examples:"
// (command_line/command.h), a flag --json for its result as one JSON document,
// and a text for each flag. --help, man pages and completion are made of that.
// REQUIRES: `action` outlives `app`.
void AddComputeCommand(CLI::App& app, Action& action);
void AddHeatmapCommand(CLI::App& app, Action& action);
void AddWeightsCommand(CLI::App& app, Action& action);
void AddInfoCommand(CLI::App& app, Action& action);
void AddHealthCommand(CLI::App& app, Action& action);
void AddBenchCommand(CLI::App& app, Action& action);
void AddDemoCommand(CLI::App& app, Action& action);

// Hidden. REQUIRES: `app` outlives the run of `action`.
void AddGenerateCommand(CLI::App& app, Action& action);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_COMMANDS_H_
