// `attention info` and `attention health`.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/table.h"
#include "command_line/seconds.h"
#include "google/protobuf/util/time_util.h"

namespace attention::client {
namespace {

std::string InfoTable(const v1::GetServerInfoResponse& info) {
  std::vector<std::vector<std::string>> rows = {
      {"version", info.version()},
      {"compute_threads", absl::StrCat(info.compute_threads())},
      {"vector target", info.vector_target()},
      {"blas", info.blas().config()},
      {"blas kernel", info.blas().kernel()},
      {"blas kernel because", info.blas().kernel_because()},
      {"blas library kernel", info.blas().library_kernel()},
      {"blas fell back", info.blas().fell_back() ? "yes" : "no"},
      {"deterministic",
       info.blas().deterministic()
           ? "yes"
           : "no: " + info.blas().not_deterministic_because()}};
  if (info.features_size() > 0) {
    rows.push_back({"features", absl::StrJoin(info.features(), ", ")});
  }
  const auto add_limit = [&](const std::string& name, int64_t limit) {
    rows.push_back({name, absl::StrCat(limit)});
  };
  const v1::Limits& limits = info.limits();
  add_limit("max_message_bytes", limits.max_message_bytes());
  add_limit("max_result_bytes", limits.max_result_bytes());
  add_limit("max_workspace_bytes", limits.max_workspace_bytes());
  add_limit("max_multiply_adds", limits.max_multiply_adds());
  add_limit("max_axis", limits.max_axis());
  add_limit("max_requests_in_flight", limits.max_requests_in_flight());
  add_limit("memory_limit", limits.memory_limit());
  add_limit("max_stream_in_flight", limits.max_stream_in_flight());
  add_limit("max_weight_set_bytes", limits.max_weight_set_bytes());
  const auto add_time = [&](const std::string& name,
                            const google::protobuf::Duration& limit) {
    rows.push_back({name, google::protobuf::util::TimeUtil::ToString(limit)});
  };
  add_time("max_transfer_idle", limits.max_transfer_idle());
  add_limit("max_open_streams", limits.max_open_streams());
  add_time("max_stream_idle", limits.max_stream_idle());
  add_limit("max_arriving_bytes", limits.max_arriving_bytes());
  add_time("receive_idle", limits.receive_idle());
  add_limit("max_connections", limits.max_connections());
  add_limit("max_header_bytes", limits.max_header_bytes());
  add_limit("max_streams_per_connection", limits.max_streams_per_connection());
  add_time("max_connection_age", limits.max_connection_age());
  add_time("max_connection_idle", limits.max_connection_idle());
  add_time("handshake_timeout", limits.handshake_timeout());
  add_time("min_ping_interval", limits.min_ping_interval());
  add_limit("max_broken_calls", limits.max_broken_calls());
  const v1::Memory& memory = info.memory();
  add_limit("memory held", memory.held());
  for (const auto& [kind, bytes] :
       {std::pair("arriving", memory.arriving()),
        std::pair("messages", memory.messages()),
        std::pair("workspaces", memory.workspaces()),
        std::pair("replies", memory.replies()),
        std::pair("uploads", memory.uploads()),
        std::pair("weights", memory.weights()),
        std::pair("converted weights", memory.converted_weights()),
        std::pair("idle buffers", memory.idle_buffers())}) {
    add_limit(absl::StrCat("memory ", kind), bytes);
  }
  add_limit("memory allocated", memory.allocated());
  return TextTable(rows);
}

struct HealthFlags {
  bool json = false;
  double wait_seconds = 0;  // 0: ask once
};

absl::Status Info(bool json, const Connection& connection) {
  const auto info = connection.client.GetServerInfo(connection.Options());
  if (!info.ok()) return info.status();
  return WriteFile("-", json ? MessageToJson(*info) : InfoTable(*info));
}

absl::Status AskForHealth(const Connection& connection,
                          const CallOptions& options) {
  const auto serving = connection.client.IsServing(options);
  if (!serving.ok()) return serving.status();
  return *serving ? absl::OkStatus() : CheckError("the server is NOT_SERVING");
}

// Asks until the server is serving or `wait` is over. Each call may last until
// then: one that is starting may take a call and answer when it is ready.
absl::Status WaitForHealth(std::chrono::duration<double> wait,
                           const Connection& connection) {
  using Clock = std::chrono::system_clock;
  constexpr auto kPause = std::chrono::milliseconds(50);
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(wait);
  absl::Status said = absl::UnavailableError("it does not answer");
  while (true) {
    CallOptions options = connection.Options();
    options.deadline = std::min(options.deadline, end);
    const absl::Status status = AskForHealth(connection, options);
    if (status.ok()) return status;
    // A question that is cut short says less than those before it.
    if (!absl::IsDeadlineExceeded(status)) said = status;
    if (Clock::now() + kPause >= end) break;
    std::this_thread::sleep_for(kPause);
  }
  if (ExitCodeOf(said) != kExitNoAnswer) return said;
  return absl::UnavailableError(
      absl::StrCat("no answer in ", wait.count(), " s: ", said.message()));
}

absl::Status Health(const HealthFlags& flags, const Connection& connection) {
  const std::chrono::duration<double> wait(flags.wait_seconds);
  absl::Status status = wait.count() > 0
                            ? WaitForHealth(wait, connection)
                            : AskForHealth(connection, connection.Options());
  if (!status.ok()) return status;
  return WriteFile(
      "-", flags.json ? PrettyJson({{"status", "SERVING"}}) : "SERVING\n");
}

}  // namespace

void AddInfoCommand(CLI::App& app, Action& action) {
  CLI::App& command =
      *app.add_subcommand("info", "Show what the server is and its limits");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "print a GetServerInfoResponse as JSON");
  command.footer(R"(Examples:
  attention info
  attention info --json)");
  command.callback([json, &action] {
    action = [json](const Connection& connection) {
      return Info(*json, connection);
    };
  });
}

void AddHealthCommand(CLI::App& app, Action& action) {
  CLI::App& command =
      *app.add_subcommand("health", "Ask whether the server takes requests");
  const auto flags = std::make_shared<HealthFlags>();
  command.add_flag("--json", flags->json, R"(print {"status": "SERVING"})");
  command
      .add_option("--wait", flags->wait_seconds,
                  "ask until it does, for so long: 30, 500ms or 1min")
      ->transform(command_line::AsSeconds())
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0).description(""));
  command.footer(
      R"(Prints SERVING and ends with 0, or says what is wrong and ends with another
exit code: 1 where the server answers that it is not serving, 3 where nothing
answers. --deadline is that of each time it asks.

Examples:
  attention health
  attention health --wait 30s
  attention health --json --deadline 2)");
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Health(*flags, connection);
    };
  });
}

}  // namespace attention::client
